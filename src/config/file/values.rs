//! Values of a config file: lengths of time, sizes, words from a list, and what may be secret.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::sections::{History, MetricsWay};
use crate::export::{Compression, Protocol};
use crate::otel::Mode;
use crate::otel::policy::{MAX_LIMIT_BYTES, MIN_LIMIT_BYTES};

const TIMES: &str = "a length of time such as \"10s\", \"250ms\" or \"15m\"";
const SIZES: &str = "a number of bytes, or a size such as \"64KiB\"";
const REFERENCES: &str = "text, { env = \"NAME\" } or { file = \"PATH\" }";

/// Units of sizes, in bytes.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Something that may be secret: text, or where to find it. It is never shown, and not looked up before it is used.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the file.
    Text(String),
    /// An environment variable holds it.
    Variable(String),
    /// A file holds it; what ends the file's last line is not part of it.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => text.write_str("Secret(…)"),
            Self::Variable(name) => write!(text, "Secret(env {name})"),
            Self::File(path) => write!(text, "Secret(file {})", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(REFERENCES)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
        Ok(Secret::Text(value.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Secret, M::Error> {
        let mut secret = None;
        while let Some(key) = map.next_key::<String>()? {
            let found = match key.as_str() {
                "env" => Secret::Variable(map.next_value()?),
                "file" => Secret::File(map.next_value::<FilePath>()?.0),
                _ => return Err(M::Error::custom(format!("expected {REFERENCES}"))),
            };
            if secret.replace(found).is_some() {
                return Err(M::Error::custom("expected either env or file, found both"));
            }
        }
        secret.ok_or_else(|| M::Error::custom(format!("expected {REFERENCES}")))
    }
}

/// The path of a file, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let path = String::deserialize(from)?;
        if path.is_empty() {
            return Err(D::Error::custom("expected the path of a file, found none"));
        }
        Ok(Self(path.into()))
    }
}

/// The name of a header, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderKey(pub String);

impl<'de> Deserialize<'de> for HeaderKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        name.map(|name| Self(name.as_str().to_owned()))
            .ok_or_else(|| D::Error::custom("this cannot be the name of a header"))
    }
}

/// A length of time.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(Text(TIMES, |text| humantime::parse_duration(text).ok()))
}

/// A length of time above 0.
pub(super) fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let timeout = duration(from)?;
    if timeout.is_zero() {
        return Err(D::Error::custom(format!("expected {TIMES}, above 0")));
    }
    Ok(Some(timeout))
}

/// A length of time above 0.
pub(super) fn interval<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    timeout(from).map(Option::unwrap_or_default)
}

/// Bytes of an attribute with content.
pub(super) fn content_limit<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let bytes = usize::try_from(size(from)?).ok();
    bytes
        .filter(|bytes| (MIN_LIMIT_BYTES..=MAX_LIMIT_BYTES).contains(bytes))
        .ok_or_else(|| D::Error::custom(format!("expected {MIN_LIMIT_BYTES} to {MAX_LIMIT_BYTES} bytes")))
}

/// A size in bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Size)
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(SIZES)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).ok().ok_or_else(|| E::custom(format!("expected {SIZES}")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        bytes(text).ok_or_else(|| E::custom(format!("expected {SIZES}, found \"{text}\"")))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn protocol<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Protocol>, D::Error> {
    let known = [("http/protobuf", Protocol::HttpProtobuf), ("grpc", Protocol::Grpc)];
    one_of(from, "protocol", &known).map(Some)
}

pub(super) fn compression<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Compression>, D::Error> {
    let known = [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    one_of(from, "compression", &known).map(Some)
}

pub(super) fn mode<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
    one_of(from, "mode", &[("none", Mode::None), ("masked", Mode::Masked), ("full", Mode::Full)])
}

pub(super) fn history<'de, D: Deserializer<'de>>(from: D) -> Result<History, D::Error> {
    let known = [("count", History::Count), ("traces", History::Traces), ("skip", History::Skip)];
    one_of(from, "history", &known)
}

pub(super) fn metrics_way<'de, D: Deserializer<'de>>(from: D) -> Result<MetricsWay, D::Error> {
    let known = [("otlp", MetricsWay::Otlp), ("scrape", MetricsWay::Scrape), ("off", MetricsWay::Off)];
    one_of(from, "way", &known)
}

/// One of a few words.
fn one_of<'de, D, T>(from: D, what: &str, known: &[(&str, T)]) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Copy,
{
    let said = String::deserialize(from)?;
    known.iter().find(|(word, _)| *word == said).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<String> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let (last, first) =
            words.split_last().map_or(("", String::new()), |(l, f)| (l.as_str(), f.join(", ")));
        D::Error::custom(format!("unknown {what} \"{said}\", expected {first} or {last}"))
    })
}

/// Text that must mean something.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::custom(format!("expected {}, found \"{text}\"", self.0)))
    }
}
