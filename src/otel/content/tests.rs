use super::*;
use crate::model::content::Modality;
use crate::otel::attributes::text;
use crate::otel::policy::{DEFAULT_LIMIT_BYTES, MAX_LIMIT_BYTES, MIN_LIMIT_BYTES};
use opentelemetry_proto::tonic::trace::v1::{Status, span};
use serde_json::json;

fn user(said: &str) -> ChatMessage {
    ChatMessage { role: "user".to_owned(), parts: vec![Part::Text(said.to_owned())] }
}

fn within(all: &[ChatMessage], limit_bytes: usize) -> String {
    messages(&all.iter().collect::<Vec<_>>(), Policy::new(Mode::Full, limit_bytes)).unwrap()
}

#[test]
fn a_conversation_at_its_limit_is_whole_and_beyond_it_the_oldest_go_first_and_are_counted() {
    let all: Vec<ChatMessage> = (0..30).map(|at| user(&format!("message {at:02}"))).collect();
    let whole = within(&all, DEFAULT_LIMIT_BYTES);
    assert_eq!(within(&all, whole.len()), whole);
    let shorter: Vec<Value> = serde_json::from_str(&within(&all, whole.len() - 1)).unwrap();
    let said = |message: &Value| message["parts"][0]["content"].as_str().unwrap().to_owned();
    let left_out = 30 - (shorter.len() - 1);
    assert_eq!(shorter[0]["role"], OUR_ROLE);
    assert_eq!(said(&shorter[0]), format!("… ({left_out} earlier messages left out)"));
    assert_eq!(said(&shorter[1]), format!("message {left_out:02}"));
    assert_eq!(said(shorter.last().unwrap()), "message 29");
    assert!((1..5).contains(&left_out), "{left_out}");
}

#[test]
fn the_newest_message_is_cut_rather_than_left_out() {
    let all = [user("first"), user(&"long ".repeat(1_000))];
    let said: Vec<Value> = serde_json::from_str(&within(&all, MIN_LIMIT_BYTES)).unwrap();
    assert_eq!(said.len(), 2);
    assert_eq!(said[0]["parts"][0]["content"], "first");
    let text = said[1]["parts"][0]["content"].as_str().unwrap();
    assert!(text.starts_with("long long ") && text.ends_with(" characters)"), "{text}");
    assert!(text.len() <= MIN_LIMIT_BYTES / 2, "one text takes half of the value at most");
}

#[test]
fn of_too_many_parts_the_last_stay_and_the_others_are_counted() {
    let parts = (0..1_000).map(|at| Part::Text(format!("part {at:03}"))).collect();
    let said: Value =
        serde_json::from_str(&within(&[ChatMessage { role: "user".to_owned(), parts }], 2_000)).unwrap();
    let parts = said[0]["parts"].as_array().unwrap();
    let left_out = 1_000 - (parts.len() - 1);
    assert_eq!(parts[0]["content"], format!("… ({left_out} earlier parts left out)"));
    assert_eq!(parts[1]["content"], format!("part {left_out:03}"));
    assert_eq!(parts.last().unwrap()["content"], "part 999");
}

#[test]
fn a_limit_that_cannot_be_kept_cannot_be_asked_for() {
    assert_eq!(Policy::new(Mode::Full, 0).limit_bytes(), MIN_LIMIT_BYTES);
    assert_eq!(Policy::new(Mode::Full, usize::MAX).limit_bytes(), MAX_LIMIT_BYTES);
    const { assert!(3 * MAX_LIMIT_BYTES < crate::otel::request::MAX_REQUEST_BYTES) };
}

#[test]
fn a_status_is_a_sentence_of_limited_length() {
    let policy = Policy::new(Mode::Full, DEFAULT_LIMIT_BYTES);
    let error =
        |length: usize| plain(&Json::of(&"e".repeat(length).into()), MAX_STATUS_BYTES, policy).unwrap();
    assert_eq!(error(MAX_STATUS_BYTES).len(), MAX_STATUS_BYTES);
    assert!(error(MAX_STATUS_BYTES + 1).ends_with(" characters)"));
}

#[test]
fn content_is_taken_out_of_a_span_and_the_span_says_so() {
    let mut bare = Span { name: "chat m".to_owned(), status: Some(Status::default()), ..Span::default() };
    text(&mut bare.attributes, names::OPERATION_NAME, "chat");
    let mut event = span::Event { name: names::EVENT_MESSAGE.to_owned(), ..span::Event::default() };
    text(&mut event.attributes, names::MESSAGE_ROLE, "user");
    bare.events.push(event);
    let mut untouched = bare.clone();
    assert!(!strip_content(&mut untouched));
    assert_eq!(untouched, bare);
    let mut said = bare.clone();
    for name in names::CONTENT {
        text(&mut said.attributes, name, "a secret");
    }
    text(&mut said.events[0].attributes, names::MESSAGE_CONTENT, "a secret");
    said.status = Some(Status { message: "a secret".to_owned(), code: 2 });
    assert!(strip_content(&mut said));
    flag(&mut bare.attributes, names::CONTENT_LEFT_OUT);
    bare.status = Some(Status { message: String::new(), code: 2 });
    assert_eq!(said, bare);
}

fn any_part() -> impl proptest::strategy::Strategy<Value = Part> {
    use proptest::prelude::*;
    let words = "(\\PC|[\\x00-\\x1f\"\\\\]){0,400}";
    let json = prop_oneof![
        words.prop_map(|text| json!(text)),
        proptest::collection::vec(words, 0..20).prop_map(|texts| json!({"list": texts})),
    ];
    let id = proptest::option::of("\\PC{0,300}");
    prop_oneof![
        words.prop_map(Part::Text),
        words.prop_map(Part::Reasoning),
        (id.clone(), "\\PC{0,300}", json.clone()).prop_map(|(id, name, arguments)| Part::ToolCall {
            id,
            name,
            arguments: Json::of(&arguments)
        }),
        (id, json).prop_map(|(id, response)| Part::ToolResponse { id, response: Json::of(&response) }),
        words.prop_map(|uri| Part::Media(Media {
            modality: Modality::Image,
            mime_type: Some("image/png".to_owned()),
            place: MediaPlace::Uri(uri)
        })),
    ]
}

fn any_message() -> impl proptest::strategy::Strategy<Value = ChatMessage> {
    use proptest::prelude::*;
    ("\\PC{0,200}", proptest::collection::vec(any_part(), 0..12))
        .prop_map(|(role, parts)| ChatMessage { role, parts })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]
    #[test]
    fn any_conversation_is_valid_json_within_any_limit(
        all in proptest::collection::vec(any_message(), 1..12),
        limit in MIN_LIMIT_BYTES..20_000,
    ) {
        for mode in [Mode::Full, Mode::Masked] {
            let said = messages(&all.iter().collect::<Vec<_>>(), Policy::new(mode, limit)).unwrap();
            proptest::prop_assert!(said.len() <= limit, "{} of {limit}", said.len());
            let said: Vec<Value> = serde_json::from_str(&said).unwrap();
            let note = usize::from(said[0]["role"] == OUR_ROLE);
            // The newest is always there.
            proptest::prop_assert!(said.len() > note);
            proptest::prop_assert!(said.len() - note <= all.len());
        }
    }
}
