//! What was said: prompts, answers, reasoning, arguments, results. Kept only where it was asked for.
//!
//! Nothing here shows its text in `Debug`, so that content cannot reach a log by way of a `{:?}`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// What was said in one run.
///
/// It never decides anything: ids, times, tokens and trees are the same with it and without it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The conversation as it was stored, history included. Positions of calls and messages point into it.
    pub messages: Vec<ChatMessage>,
    /// Answers that stand outside the conversation, by the key of their call.
    pub answers: BTreeMap<String, ChatMessage>,
    /// Arguments and results, by the key of their tool call.
    pub tools: BTreeMap<String, ToolContent>,
    /// Error texts of steps that failed, by their path.
    pub step_errors: BTreeMap<String, String>,
    /// What the run was asked.
    pub input: Vec<ChatMessage>,
    /// What it answered.
    pub output: Vec<ChatMessage>,
    /// Why it failed, in the words of whatever failed.
    pub error: Option<String>,
}

/// What went into a tool and what came out.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolContent {
    /// Its arguments.
    pub arguments: Option<Json>,
    /// Its result; the error text where it failed.
    pub result: Option<Json>,
}

/// One message of a conversation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`, or whatever else was said.
    pub role: String,
    /// What it says, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Words.
    Text(String),
    /// Words a model said to itself.
    Reasoning(String),
    /// A tool the model asked for.
    ToolCall {
        /// The provider's id of the call.
        id: Option<String>,
        /// The tool's name.
        name: String,
        /// Its arguments.
        arguments: Json,
    },
    /// What a tool answered.
    ToolResponse {
        /// The id of the call it answers.
        id: Option<String>,
        /// The answer.
        response: Json,
    },
    /// An image, a sound, a film or a document, by reference.
    Media(Media),
}

/// Media by reference. Its bytes are never kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Media {
    /// What kind of thing it is.
    pub modality: Modality,
    /// Its MIME type, if it is a well-formed one.
    pub mime_type: Option<String>,
    /// Where it is.
    pub place: MediaPlace,
}

/// What kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Modality {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Anything else.
    Document,
}

impl Modality {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
        }
    }
}

/// Where media is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaPlace {
    /// At an address, or in a file of the application's.
    Uri(String),
    /// Under an id.
    File(String),
    /// In the record itself, which said so many bytes.
    Inline {
        /// How many.
        size_bytes: u64,
    },
    /// Nobody said.
    Unknown,
}

/// A JSON value as its text: compact, ordered, and small while it waits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Json(String);

impl Json {
    /// Keeps a value.
    pub fn of(value: &Value) -> Self {
        Self(value.to_string())
    }

    /// The value.
    pub fn value(&self) -> Value {
        // It was made from a value; one nested so deeply that it cannot be read again cannot have been read.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// Writes a `Debug` that says what it is and nothing of what it says.
macro_rules! silent {
    ($($name:ident),+) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(stringify!($name))
            }
        })+
    };
}

silent!(Content, ToolContent, ChatMessage, Part, Media, MediaPlace, Json);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_nothing_of_what_was_said() {
        let said = ChatMessage { role: "user".to_owned(), parts: vec![Part::Text("a secret".to_owned())] };
        let tool = ToolContent { arguments: Some(Json::of(&Value::from("a secret"))), result: None };
        let content = Content {
            messages: vec![said.clone()],
            tools: [("key".to_owned(), tool.clone())].into(),
            error: Some("a secret".to_owned()),
            ..Content::default()
        };
        let shown = format!("{content:?} {said:?} {:?} {tool:?} {:?}", said.parts, tool.arguments);
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_value_comes_back_as_it_was_kept() {
        let value = serde_json::json!({"q": ["a", 1, 2.5, null, true], "deep": {"er": "\u{FFFD}"}});
        assert_eq!(Json::of(&value).value(), value);
    }
}
