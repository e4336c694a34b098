//! What records mean, one folder per framework.
//!
//! Decoding is pure and never fails on a record that is JSON: it returns what it understood, and counts what
//! it did not as oddities.

use std::collections::BTreeMap;

pub mod agno;

/// How much of a record is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// Ids, names, figures and times. What was said is passed over without being parsed.
    #[default]
    Figures,
    /// What was said too.
    Content,
}

/// Something in a record we did not understand or believe. Counted and reported, never fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Oddity {
    /// The text is no JSON, not even Python's.
    NotJson,
    /// JSON, but not as the standard has it: `NaN`, lone surrogates, repeated keys. It was read all the same.
    PythonJson,
    /// Nested deeper than we follow.
    TooDeep,
    /// A name or an id longer than any is.
    LongText,
    /// JSON, but no run.
    NotARun,
    /// A streamed event, not a run.
    StreamEvent,
    /// A run written by Agno 1.x, whose format we do not read.
    AgnoV1,
    /// A run without an id.
    NoRunId,
    /// A field of another type than the framework writes.
    FieldType,
    /// A status this version does not know.
    UnknownStatus,
    /// A token count that cannot be: negative, fractional, or beyond 2^53.
    UnbelievableTokens,
    /// A time or duration that cannot be.
    UnbelievableTime,
    /// Token classes that contradict each other and were clamped.
    ClampedTokens,
    /// Messages that state more tokens than the run's own sum: those of its main model are counted beyond it.
    MessagesExceedSum,
    /// Runs that are each other's parents.
    ParentCycle,
    /// Runs that started each other beyond the depth we follow.
    DeepTree,
    /// A half-written last line.
    HalfLine,
    /// A file of a folder that holds no runs, and was not expected to.
    OtherFile,
    /// A metric attribute had more values than its cap; new ones were folded into `other`.
    FoldedValue,
}

impl Oddity {
    /// A short stable name, for summaries and the `agno.oddity` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::PythonJson => "python_json",
            Self::TooDeep => "too_deep",
            Self::LongText => "long_text",
            Self::NotARun => "not_a_run",
            Self::StreamEvent => "stream_event",
            Self::AgnoV1 => "agno_v1",
            Self::NoRunId => "no_run_id",
            Self::FieldType => "field_type",
            Self::UnknownStatus => "unknown_status",
            Self::UnbelievableTokens => "unbelievable_tokens",
            Self::UnbelievableTime => "unbelievable_time",
            Self::ClampedTokens => "clamped_tokens",
            Self::MessagesExceedSum => "messages_exceed_sum",
            Self::ParentCycle => "parent_cycle",
            Self::DeepTree => "deep_tree",
            Self::HalfLine => "half_line",
            Self::OtherFile => "other_file",
            Self::FoldedValue => "folded_value",
        }
    }

    /// True for oddities that cost a whole record.
    pub fn leaves_out_record(self) -> bool {
        matches!(
            self,
            Self::NotJson
                | Self::TooDeep
                | Self::NotARun
                | Self::StreamEvent
                | Self::AgnoV1
                | Self::NoRunId
                | Self::HalfLine
        )
    }

    /// What it means for the reader of a summary.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NotJson => "text that is not JSON was left out",
            Self::PythonJson => "not quite JSON (NaN, lone surrogates, repeated keys); read all the same",
            Self::TooDeep => "nested too deeply; what lies deeper was left out",
            Self::LongText => "names or ids longer than any is; cut",
            Self::NotARun => "JSON that is no Agno run was left out",
            Self::StreamEvent => "streamed events were left out; give the runs instead",
            Self::AgnoV1 => "written by Agno 1.x, whose format is not read; migrate the database with Agno 2",
            Self::NoRunId => "runs without run_id were left out",
            Self::FieldType => "fields of an unexpected type were taken as absent",
            Self::UnknownStatus => "runs with a status unknown to this version; counted under it",
            Self::UnbelievableTokens => {
                "token counts that cannot be (negative, fractional, beyond 2^53); left out"
            }
            Self::UnbelievableTime => "times or durations that cannot be; left out",
            Self::ClampedTokens => "token classes that contradict each other; clamped to their sum",
            Self::MessagesExceedSum => {
                "messages state more tokens than their run's own sum; counted beyond it"
            }
            Self::ParentCycle => "runs that are each other's parents; one of each circle was made the first",
            Self::DeepTree => "runs started by runs beyond the depth we follow; shown as traces of their own",
            Self::HalfLine => "the last line is only half written; it was left out",
            Self::OtherFile => "files of a folder that hold no runs were left out; -v names them",
            Self::FoldedValue => "too many different values of one attribute; new ones became `other`",
        }
    }
}

/// How often each oddity was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oddities(BTreeMap<Oddity, u64>);

impl Oddities {
    /// Counts one more.
    pub fn add(&mut self, oddity: Oddity) {
        self.add_many(oddity, 1);
    }

    /// Counts several at once; none leaves no trace.
    pub fn add_many(&mut self, oddity: Oddity, count: u64) {
        if count > 0 {
            *self.0.entry(oddity).or_default() += count;
        }
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        for (oddity, count) in other.iter() {
            self.add_many(oddity, count);
        }
    }

    /// Each oddity with its count, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = (Oddity, u64)> + '_ {
        self.0.iter().map(|(oddity, count)| (*oddity, *count))
    }

    /// The count of one.
    pub fn count(&self, oddity: Oddity) -> u64 {
        self.0.get(&oddity).copied().unwrap_or(0)
    }

    /// True when nothing odd was met.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
