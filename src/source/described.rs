//! What bytes are that are no runs, in words that say what to do.

/// The beginning of SQLite's files.
pub(super) const SQLITE: &[u8] = b"SQLite format 3\0";

/// How files of other kinds begin, and what they are.
const BEGINNINGS: [(&[u8], &str); 7] = [
    (b"\x1f\x8b", "a gzip file; unpack it first, as in: zcat FILE | agno-otel send -"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first, as in: zstdcat FILE | agno-otel send -"),
    (b"\xfd7zXZ\0", "an xz file; unpack it first, as in: xzcat FILE | agno-otel send -"),
    (b"BZh", "a bzip2 file; unpack it first, as in: bzcat FILE | agno-otel send -"),
    (b"PK\x03\x04", "a zip file; unpack it first"),
    (b"\xff\xfe", "UTF-16 text; convert it first, as in: iconv -f UTF-16 -t UTF-8 FILE | agno-otel send -"),
    (b"\xfe\xff", "UTF-16 text; convert it first, as in: iconv -f UTF-16 -t UTF-8 FILE | agno-otel send -"),
];

/// Says what a file of this length holds that is no JSON, by how it begins.
pub(super) fn described(start: &[u8], length: u64) -> String {
    if start.trim_ascii().is_empty() {
        return "nothing (it is empty)".to_owned();
    }
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| start.starts_with(beginning)) {
        return (*what).to_owned();
    }
    // A letter may be cut where the beginning ends.
    let is_text = std::str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true);
    let kind = if is_text && !start.contains(&0) {
        "of text that is not JSON"
    } else {
        "that are neither JSON nor text"
    };
    format!("{length} bytes {kind}")
}
