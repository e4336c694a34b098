//! What the fuzz targets do with their bytes: `fuzz/` calls them with what it makes up, `seeds.rs` with its seeds.

use agno_otel::Record;
use agno_otel::framework::agno::{self, Columns, Form};
use agno_otel::framework::{Keep, Oddity};
use serde_json::Value;

use super::invariants::{self, Extent};
use super::mutation;

/// No UTF-8 has this byte, so it can stand between two records.
const BETWEEN: u8 = 0xFF;
/// First bytes from here on put the real record beside the changed one.
const BESIDE_REAL: u8 = 0x80;

/// Any bytes, as one record or two.
pub(crate) fn decode(bytes: &[u8], extent: Extent) {
    let record = |json: &[u8]| Record { json: json.to_owned(), columns: Columns::default() };
    let records: Vec<Record> = bytes.splitn(2, |byte| *byte == BETWEEN).map(record).collect();
    for record in &records {
        agno::form(&record.json);
    }
    invariants::hold(&records, extent);
}

/// A real record as the bytes change it, beside the real one or alone.
pub(crate) fn mutated(bytes: &[u8], extent: Extent) {
    let Some((&number, changes)) = bytes.split_first() else {
        return;
    };
    let (real, changed) = mutation::mutated(number, changes);
    let columns = |index| Columns {
        session_id: Some("session".to_owned()),
        index: Some(index).filter(|_| changes.len() % 4 == 1),
        ..Columns::default()
    };
    let record =
        |value: &Value, index| Record { json: value.to_string().into_bytes(), columns: columns(index) };
    let mut records = vec![record(&changed, 1)];
    records.extend((number >= BESIDE_REAL).then(|| record(real, 0)));
    invariants::hold(&records, extent);
}

/// Any bytes as a value in a record that Python wrote: what is standard JSON keeps its meaning there, and a text that
/// ends too early is known as such.
pub(crate) fn json(bytes: &[u8]) {
    let run = |odd: &[u8]| {
        let (content, tool) = (br#""content":"#, br#","tools":[{"tool_name":"t","result":1,"tool_args":"#);
        let messages = br#"}],"messages":[{"role":"user","id":"m","content":"#;
        let head = br#"{"run_id":"r","agent_id":"a","#;
        let parts: [&[u8]; 9] = [head, odd, content, bytes, tool, bytes, messages, bytes, b"}]}"];
        parts.concat()
    };
    let read = |json: &[u8]| agno::decode(json, &Columns::default(), Keep::Content);
    let python = run(br#""metrics":{"duration":NaN},"#);
    let repaired = read(&python);
    let is_standard = serde_json::from_slice::<Value>(bytes).is_ok();
    if !is_standard {
        return;
    }
    let mut plain = read(&run(br#""metrics":{"duration":null},"#));
    assert_eq!((plain.runs.len(), repaired.runs.len()), (1, 1));
    assert_eq!(repaired.oddities.count(Oddity::PythonJson), 1 + plain.oddities.count(Oddity::PythonJson));
    let (one, other) = (plain.runs.remove(0).run, &repaired.runs[0].run);
    assert_eq!(one.content, other.content, "repair changed what was said");
    assert_eq!(&one, other, "repair changed a run");
    assert_eq!(agno::form(&python), Form::Whole);
    let end = bytes.iter().fold(0_usize, |sum, byte| sum * 31 % 100_003 + usize::from(*byte)) % python.len();
    let cut = &python[..end];
    assert_eq!(agno::form(cut), Form::Cut, "the first {end} bytes");
}
