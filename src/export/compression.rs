//! Compression of request bodies.
//!
//! The levels are the lowest: measured on spans, gzip at its usual level 6 costs ten times what all the rest of a
//! delivery does, and level 1 is nearly as small (`docs/adr/0009-transports.md`).

use std::io::{self, Write as _};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::otel::request::Chunk;

const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// What every OTLP server understands.
    Gzip,
    /// Faster and smaller; the Collector understands it.
    Zstd,
}

impl Compression {
    /// Its name in headers; as it is has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// How many bytes the message of a request has, compressed.
    pub fn size(self, chunks: &[Chunk]) -> io::Result<u64> {
        Ok(self.body(chunks)?.len() as u64)
    }

    /// The message of a request, compressed. The same request gives the same bytes.
    pub(super) fn body(self, chunks: &[Chunk]) -> io::Result<Bytes> {
        let bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        let chunks = chunks.iter().map(|chunk| chunk.bytes.as_slice());
        let mut body = BytesMut::with_capacity(bytes).writer();
        match self {
            Self::None => {
                for chunk in chunks {
                    body.write_all(chunk)?;
                }
            }
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(&mut body, flate2::Compression::new(GZIP_LEVEL));
                for chunk in chunks {
                    encoder.write_all(chunk)?;
                }
                encoder.finish()?;
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(&mut body, ZSTD_LEVEL)?;
                for chunk in chunks {
                    encoder.write_all(chunk)?;
                }
                encoder.finish()?;
            }
        }
        Ok(body.into_inner().freeze())
    }
}
