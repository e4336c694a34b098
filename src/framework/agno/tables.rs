//! Agno's tables and columns, and how they changed between versions.
//!
//! 2.x keeps all runs of a session in the column `runs` of the session's row. 3.x keeps one row per run in a
//! table of its own and leaves `runs` of migrated databases as it was. Both can be in one database.

/// A table of a database, as the database describes it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// How a table holds runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// 2.x: a list of runs in each session's row.
    SessionsWithRuns,
    /// 3.x: sessions without their runs.
    Sessions,
    /// 3.x: a row per run.
    Runs,
    /// 1.x: runs in the column `memory`.
    V1,
    /// Nothing of Agno's that we read.
    Other,
}

impl Table {
    fn has(&self, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.columns.iter().any(|own| own == column))
    }

    /// What this table holds, told by its columns: names are the user's to choose.
    pub fn layout(&self) -> Layout {
        if self.has(&["run_id", "session_id", "run_data"]) {
            Layout::Runs
        } else if self.has(&["session_id", "session_type", "runs"]) {
            Layout::SessionsWithRuns
        } else if self.has(&["session_id", "session_type", "session_data"]) {
            Layout::Sessions
        } else if self.has(&["session_id", "memory", "session_data"]) {
            Layout::V1
        } else {
            Layout::Other
        }
    }

    /// True for a table of traces that Agno keeps itself, where the application turned on its tracing.
    pub fn holds_traces(&self) -> bool {
        self.has(&["trace_id", "run_id", "session_id", "start_time", "end_time"])
            && self.layout() == Layout::Other
    }

    /// True for a table of sessions of 2.x or 3.x that says more of them than their runs.
    pub fn has_session_data(&self) -> bool {
        matches!(self.layout(), Layout::SessionsWithRuns | Layout::Sessions) && self.has(&["session_data"])
    }

    /// The column, if this table has it, else a `NULL` in its place.
    pub fn column_or_null(&self, column: &str) -> String {
        if self.has(&[column]) { format!("\"{column}\"") } else { "NULL".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_columns_whatever_its_name() {
        let table = |columns: &[&str]| Table {
            name: "mine".to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
        };
        assert_eq!(table(&["session_id", "session_type", "runs"]).layout(), Layout::SessionsWithRuns);
        assert_eq!(table(&["run_id", "session_id", "run_data", "status"]).layout(), Layout::Runs);
        assert_eq!(table(&["session_id", "memory", "session_data"]).layout(), Layout::V1);
        assert_eq!(table(&["trace_id", "run_id", "session_id"]).layout(), Layout::Other);
        let traces = ["trace_id", "name", "status", "start_time", "end_time", "run_id", "session_id"];
        assert!(table(&traces).holds_traces() && !table(&traces[..5]).holds_traces());
        let sessions = ["session_id", "session_type", "session_data", "runs"];
        assert!(table(&sessions).has_session_data() && table(&sessions[..3]).has_session_data());
        assert!(!table(&["session_id", "session_type", "runs"]).has_session_data());
        assert!(!table(&["session_id", "memory", "session_data"]).has_session_data());
    }
}
