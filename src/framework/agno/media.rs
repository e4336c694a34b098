//! Images, sounds, films and documents by reference: Agno's own objects, and providers' parts of messages.
//!
//! Bytes are measured where they stand and never kept.

use serde_json::Value;

use crate::model::content::{Media, MediaPlace, Modality};

/// Bytes of a MIME type that is believed; IANA's longest has 73.
const MAX_MIME_TYPE_BYTES: usize = 100;

/// One of Agno's media objects: `Image`, `Audio`, `Video`, `File`, with a `media_reference` from 3.0 on.
pub(super) fn of(modality: Modality, item: &Value) -> Media {
    let reference = item.get("media_reference").unwrap_or(&Value::Null);
    let place = match place(item) {
        MediaPlace::Uri(uri) if reference.is_object() => MediaPlace::Uri(unsigned(&uri)),
        MediaPlace::File(_) | MediaPlace::Unknown if reference.is_object() => of_reference(reference),
        place => place,
    };
    with_type(modality, place, &[item, reference])
}

/// A provider's part of a message, if it is media by its type.
pub(super) fn of_part(kind: &str, item: &Value) -> Option<Media> {
    let modality = [
        ("image", Modality::Image),
        ("audio", Modality::Audio),
        ("video", Modality::Video),
        ("file", Modality::Document),
        ("document", Modality::Document),
    ];
    let (_, modality) = modality.into_iter().find(|(word, _)| kind.contains(word))?;
    // OpenAI puts it under the part's type, Anthropic under `source`.
    let inner = [item.get("source"), item.get(kind), Some(item)];
    let objects: Vec<&Value> = inner.into_iter().flatten().collect();
    let place = objects.iter().map(|object| place(object)).find(|place| *place != MediaPlace::Unknown);
    Some(with_type(modality, place.unwrap_or(MediaPlace::Unknown), &objects))
}

/// Where an object says its media is. Bytes beside an id are bytes: the id is the framework's own.
fn place(object: &Value) -> MediaPlace {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| object.get(name)?.as_str().filter(|text| !text.is_empty()))
    };
    let direct = object.as_str().filter(|text| !text.is_empty());
    if let Some(uri) = direct.or_else(|| first(&["url", "uri", "image_url", "file_url", "filepath"])) {
        return match uri.strip_prefix("data:") {
            Some(rest) => inline(rest.split_once(',').map_or(rest, |(_, bytes)| bytes)),
            None => MediaPlace::Uri(uri.to_owned()),
        };
    }
    if let Some(bytes) = first(&["content", "data", "file_data"]) {
        return inline(bytes);
    }
    first(&["file_id", "id"]).map_or(MediaPlace::Unknown, |id| MediaPlace::File(id.to_owned()))
}

/// Base64 as the bytes it stands for.
fn inline(text: &str) -> MediaPlace {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    MediaPlace::Inline { size_bytes: (text.len() - padding) as u64 * 3 / 4 }
}

fn of_reference(reference: &Value) -> MediaPlace {
    let text = |name: &str| reference.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let uri = text("url").map(|url| MediaPlace::Uri(unsigned(url)));
    let file = || text("storage_key").map(|key| MediaPlace::File(key.to_owned()));
    uri.or_else(file).unwrap_or(MediaPlace::Unknown)
}

/// An address without its query: a storage's signature opens the file to whoever reads it.
fn unsigned(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn with_type(modality: Modality, place: MediaPlace, objects: &[&Value]) -> Media {
    let named = ["mime_type", "media_type"].into_iter().find_map(|name| {
        let stated = objects.iter().find_map(|object| object.get(name)?.as_str());
        stated.filter(|text| is_mime_type(text))
    });
    Media { modality, mime_type: named.map(str::to_owned), place }
}

/// `type/subtype` with the characters IANA allows. Anything else could be content.
fn is_mime_type(text: &str) -> bool {
    let is_word = |word: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_');
        !word.is_empty() && word.bytes().all(allowed)
    };
    text.len() <= MAX_MIME_TYPE_BYTES
        && text.split_once('/').is_some_and(|(kind, subtype)| is_word(kind) && is_word(subtype))
}
