//! The body of a request, decompressed within a limit.

use std::io::Read;

/// Window of zstd that is taken, as a power of two: 64 MiB. Larger ones are for archives.
const MAX_WINDOW_LOG: u32 = 26;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is more than may be.
    TooLarge,
    /// It is not what it says it is.
    Broken,
}

impl Encoding {
    /// By the value of `content-encoding`.
    pub(super) fn of(header: Option<&str>) -> Option<Self> {
        match header.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The body as it was before. Nothing is read beyond the limit.
    pub(super) fn decompress(self, body: Vec<u8>, limit_bytes: u64) -> Result<Vec<u8>, Unreadable> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => within(flate2::read::MultiGzDecoder::new(body.as_slice()), limit_bytes),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(body.as_slice()).ok().ok_or(Unreadable::Broken)?;
                decoder.window_log_max(MAX_WINDOW_LOG).ok().ok_or(Unreadable::Broken)?;
                within(decoder, limit_bytes)
            }
        }
    }
}

fn within(reader: impl Read, limit_bytes: u64) -> Result<Vec<u8>, Unreadable> {
    let mut text = Vec::new();
    reader.take(limit_bytes.saturating_add(1)).read_to_end(&mut text).ok().ok_or(Unreadable::Broken)?;
    if text.len() as u64 > limit_bytes { Err(Unreadable::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_what_was_compressed_up_to_the_limit_and_not_beyond() {
        let text = vec![b'a'; 1_000];
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd::encode_all(text.as_slice(), 1).unwrap())]
        {
            assert_eq!(encoding.decompress(body.clone(), 1_000), Ok(text.clone()));
            assert_eq!(encoding.decompress(body.clone(), 999), Err(Unreadable::TooLarge));
            assert_eq!(encoding.decompress(text.clone(), 1_000), Err(Unreadable::Broken));
            let half = body[..body.len() / 2].to_vec();
            assert_eq!(encoding.decompress(half, 1_000), Err(Unreadable::Broken));
        }
    }

    #[test]
    fn encodings_are_known_by_their_names() {
        for (name, encoding) in [
            (None, Some(Encoding::Identity)),
            (Some("GZIP"), Some(Encoding::Gzip)),
            (Some("zstd"), Some(Encoding::Zstd)),
            (Some("br"), None),
            (Some("gzip, zstd"), None),
        ] {
            assert_eq!(Encoding::of(name), encoding, "{name:?}");
        }
    }
}
