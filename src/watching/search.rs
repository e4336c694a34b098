//! Searches in Jaeger, as the annotations of alerts have them: made by Prometheus' templates of an alert's labels.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::query::{label, quoted};

/// `service.name` of the alert.
const SERVICE: &str = "$labels.job | reReplaceAll \"^.*/\" \"\"";

/// What stands for itself in an address: letters, digits, and what names are made of.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// An attribute, and the expression of a template that makes its value.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    name: String,
    value: String,
}

/// A search for spans by their attributes.
#[derive(Debug, Clone)]
pub(super) enum Search {
    /// One span has them all.
    Tags(Vec<Tag>),
    /// One search or the other, as an expression of a template decides.
    Either(String, Box<[Self; 2]>),
}

impl Search {
    /// Any span of the service.
    pub(super) fn all() -> Self {
        Self::Tags(Vec::new())
    }

    /// Each attribute has the value of the alert's label of the same name.
    pub(super) fn as_labelled(names: &[&str]) -> Self {
        let tag = |name: &&str| Tag { name: (*name).to_owned(), value: format!("$labels.{}", label(name)) };
        Self::Tags(names.iter().map(tag).collect())
    }

    /// One search or the other.
    pub(super) fn either(condition: String, yes: Self, no: Self) -> Self {
        Self::Either(condition, Box::new([yes, no]))
    }

    /// An attribute more, with the value of an expression.
    #[must_use]
    pub(super) fn and(self, name: &str, value: &str) -> Self {
        match self {
            Self::Tags(mut tags) => {
                tags.push(Tag { name: name.to_owned(), value: value.to_owned() });
                Self::Tags(tags)
            }
            Self::Either(condition, sides) => {
                Self::Either(condition, Box::new((*sides).map(|side| side.and(name, value))))
            }
        }
    }

    /// An attribute more, with a value that is known.
    #[must_use]
    pub(super) fn and_is(self, name: &str, value: &str) -> Self {
        // A template's strings are written as those of expressions are.
        self.and(name, &quoted(value))
    }

    /// In the words of Jaeger's form.
    pub(super) fn words(&self) -> String {
        let tag = |Tag { name, value }: &Tag| format!(" {name}={{{{ {value} | printf \"%q\" }}}}");
        format!("Jaeger: service {{{{ {SERVICE} }}}}{}", self.written(&|tags| tags.iter().map(tag).collect()))
    }

    /// As the address of a page.
    pub(super) fn url(&self, jaeger: &str, lookback: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let tag = |Tag { name, value }: &Tag| {
            format!("{}{{{{ {value} | printf \"%q\" | urlquery }}}}", encode(&format!("\"{name}\":")))
        };
        let tags = self.written(&|tags| {
            let tags: Vec<String> = tags.iter().map(tag).collect();
            if tags.is_empty() { String::new() } else { format!("&tags=%7B{}%7D", tags.join("%2C")) }
        });
        let service = format!("{{{{ {SERVICE} | urlquery }}}}");
        format!("{jaeger}/search?service={service}&lookback={lookback}&limit=100{tags}")
    }

    fn written(&self, tags: &dyn Fn(&[Tag]) -> String) -> String {
        match self {
            Self::Tags(own) => tags(own),
            Self::Either(condition, sides) => {
                let [yes, no] = &**sides;
                let (yes, no) = (yes.written(tags), no.written(tags));
                format!("{{{{ if {condition} }}}}{yes}{{{{ else }}}}{no}{{{{ end }}}}")
            }
        }
    }
}
