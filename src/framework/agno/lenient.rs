//! Fields that read any JSON type: what fits is kept, what does not is counted and taken as absent.
//!
//! A record is data of somebody else's program. One field of another type must never cost the run.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};
use sha2::{Digest as _, Sha256};

use crate::framework::{Oddities, Oddity};

/// Bytes of a name, an id or a word. Each stands on every span of its run, and nobody reads a longer one.
pub(super) const MAX_TEXT_BYTES: usize = 1_024;

/// How deep a value may hold values of its own kind: a team's member may be a team. Each level takes stack.
pub(super) const MAX_DEPTH: usize = 16;

thread_local! {
    /// How deep the value being read lies in others of its kind.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// What was odd about fields since it was last taken. A deserializer has no other way to hand a remark to its
    /// caller; `take_oddities` is called around every parse.
    static ODDITIES: RefCell<Oddities> = RefCell::default();
}

/// What was odd about fields since the last call.
pub(super) fn take_oddities() -> Oddities {
    ODDITIES.with(RefCell::take)
}

fn remark(oddity: Oddity) {
    ODDITIES.with(|oddities| oddities.borrow_mut().add(oddity));
}

fn odd<T: Default>() -> T {
    remark(Oddity::FieldType);
    T::default()
}

/// A text of bounded length. Of a longer one the beginning is kept, with a hash of the whole, so that different
/// ids stay different.
pub(super) fn bounded(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    remark(Oddity::LongText);
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - 32);
    let digest = Sha256::digest(text.as_bytes());
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    Cow::Owned(format!("{}…{hash:016x}", text.get(..end).unwrap_or_default()))
}

/// Implements the visits that the type does not want: they count as odd.
macro_rules! odd_visits {
    ($($kind:ident)*) => { $(odd_visits!(@ $kind);)* };
    (@ bool) => { fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> { Ok(odd()) } };
    (@ number) => {
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> { Ok(odd()) }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> { Ok(odd()) }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> { Ok(odd()) }
    };
    (@ text) => { fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> { Ok(odd()) } };
    (@ list) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(odd())
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(odd())
        }
    };
    (@ null) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result { text.write_str("any JSON") }
    };
}

/// A string; whole numbers are taken as their digits (ids are sometimes numbers).
#[derive(Debug, Default, Clone)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl Text<'_> {
    pub(super) fn owned(&self) -> Option<String> {
        self.as_str().map(str::to_owned)
    }

    /// The text, unless absent or empty.
    pub(super) fn as_str(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Visit<'a> {
            type Value = Text<'a>;
            odd_visits!(bool list map null);
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Some(bounded(Cow::Borrowed(text)))))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Some(bounded(Cow::Owned(text.to_owned())))))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(odd())
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

/// A number as it was written. A list of numbers marks a record of Agno 1.x.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Number {
    #[default]
    Absent,
    Natural(u64),
    Negative(i64),
    Float(f64),
    /// Agno 1.x keeps one item per message where later releases keep one number.
    List,
}

impl Number {
    /// As a float; `None` when absent.
    #[expect(clippy::cast_precision_loss, reason = "seconds and money lose nothing that matters")]
    pub(super) fn float(self) -> Option<f64> {
        match self {
            Self::Natural(number) => Some(number as f64),
            Self::Negative(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Absent | Self::List => None,
        }
    }

    /// As a Unix second or an index.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::Natural(number) => i64::try_from(number).ok(),
            Self::Negative(number) => Some(number),
            Self::Float(number) if number.abs() < 9e15 => Some(number.floor() as i64),
            Self::Float(_) | Self::Absent | Self::List => None,
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Number;
            odd_visits!(bool text map null);
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number::Natural(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(u64::try_from(number).map_or(Number::Negative(number), Number::Natural))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number::Float(number))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Number, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Number::List)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// True or false.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flag(pub(super) Option<bool>);

impl Flag {
    pub(super) fn is_true(self) -> bool {
        self.0 == Some(true)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Flag;
            odd_visits!(number text list map null);
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(Some(flag)))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// A list of objects; items that are no objects are counted and passed over.
#[derive(Debug, Clone)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = List<T>;
            odd_visits!(bool number text map null);
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<Object<T>>()? {
                    items.extend(item.0);
                }
                Ok(List(items))
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

/// An object, or nothing.
#[derive(Debug, Clone)]
pub(super) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Object<T>;
            odd_visits!(bool number text list null);
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Object(Some(value)))
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

/// A value that may hold others of its kind: what lies too deep is passed over and counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounded<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let depth = DEPTH.get();
        if depth == MAX_DEPTH {
            remark(Oddity::TooDeep);
            return IgnoredAny::deserialize(deserializer).map(|_| Self::default());
        }
        DEPTH.set(depth + 1);
        let value = T::deserialize(deserializer);
        DEPTH.set(depth);
        value.map(Self)
    }
}

/// A map in the order it was written.
#[derive(Debug, Clone)]
pub(super) struct Map<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Map<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Map<T>;
            odd_visits!(bool number text list null);
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    entries.push((bounded(Cow::Owned(key)).into_owned(), value));
                }
                Ok(Map(entries))
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

#[cfg(test)]
mod tests;
