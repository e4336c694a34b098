//! What was spent, by the minute in which its run began: what budgets are counted from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::params;

use super::records::hash_of;
use super::{Error, State};
use crate::model::budget::{Budget, Expense, Span, Standing};
use crate::model::{RunKey, RunKind};

const MINUTE_S: u64 = 60;
/// The most that one run is put down with: a thousand million million tokens, a million dollars. Sums then fit.
const MOST: u64 = 1 << 50;

/// Who spent something, as it is stored.
type By = Vec<(String, String)>;

/// Minute, spender, model, tokens, nano-dollars.
type Row = (i64, String, String, i64, i64);

impl State {
    /// Sets what a run spent, at the earliest time it was said to begin: that of a run without any time is another whenever
    /// it is read. To be called within [`commit`](Self::commit).
    pub(super) fn spend(&mut self, run: &RunKey, began_s: u64, spent: &[Expense]) -> Result<(), Error> {
        let sql = "SELECT minute, spender, model, tokens, nano_usd FROM spent WHERE run = ?1
                   ORDER BY minute, spender, model, tokens, nano_usd";
        let known: Vec<Row> = self.query(sql, [hash_of(run)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
        self.spend_beside(&known, run, began_s, spent)
    }

    /// Sets what a run spent that was never counted. To be called within [`commit`](Self::commit).
    pub(super) fn spend_first(&mut self, run: &RunKey, began_s: u64, spent: &[Expense]) -> Result<(), Error> {
        self.spend_beside(&[], run, began_s, spent)
    }

    fn spend_beside(
        &mut self,
        known: &[Row],
        run: &RunKey,
        began_s: u64,
        spent: &[Expense],
    ) -> Result<(), Error> {
        let run = hash_of(run);
        let minute = (began_s / MINUTE_S).cast_signed();
        let minute = known.first().map_or(minute, |(known, ..)| minute.min(*known));
        let mut rows = Vec::<Row>::new();
        for Expense { by, model, tokens, nano_usd } in spent {
            let by: By = by.iter().map(|(kind, name)| (kind.as_str().to_owned(), name.clone())).collect();
            let by = serde_json::to_string(&by).map_err(|error| self.damaged(&error.to_string()))?;
            let [tokens, nano_usd] = [tokens, nano_usd].map(|amount| (*amount).min(MOST).cast_signed());
            rows.push((minute, by, model.clone(), tokens, nano_usd));
        }
        rows.sort_unstable();
        // As long as its tokens stay the same, so does what was paid for them.
        let spent = |rows: &[Row]| {
            rows.iter().map(|row| (row.0, row.1.clone(), row.2.clone(), row.3)).collect::<Vec<_>>()
        };
        if spent(known) == spent(&rows) {
            return Ok(());
        }
        if !known.is_empty() {
            self.execute("DELETE FROM spent WHERE run = ?1", [run])?;
        }
        let sql = "INSERT INTO spent (run, minute, spender, model, tokens, nano_usd) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        for (minute, by, model, tokens, nano_usd) in rows {
            self.execute(sql, params![run, minute, by, model, tokens, nano_usd])?;
        }
        Ok(())
    }

    /// How budgets stand at a time, in Unix seconds.
    pub fn standings(&self, budgets: &[Budget], now_s: u64) -> Result<Vec<Standing>, Error> {
        let mut spent = BTreeMap::<(u64, u64), Vec<Expense>>::new();
        for budget in budgets {
            let Span { start_s, end_s } = budget.window.span(now_s);
            if let Entry::Vacant(place) = spent.entry((start_s, end_s)) {
                place.insert(self.spent_in(start_s, end_s)?);
            }
        }
        let standing = |budget: &Budget| {
            let span = budget.window.span(now_s);
            budget.standing(spent.get(&(span.start_s, span.end_s)).into_iter().flatten(), span)
        };
        Ok(budgets.iter().map(standing).collect())
    }

    /// Forgets what was spent before a time, in Unix seconds.
    pub fn forget_spent(&mut self, before_s: u64) -> Result<(), Error> {
        self.execute("DELETE FROM spent WHERE minute < ?1", [(before_s / MINUTE_S).cast_signed()])?;
        Ok(())
    }

    fn spent_in(&self, start_s: u64, end_s: u64) -> Result<Vec<Expense>, Error> {
        let sql =
            "SELECT spender, model, sum(tokens), sum(nano_usd) FROM spent WHERE minute >= ?1 AND minute < ?2
                   GROUP BY spender, model";
        let minutes = [start_s, end_s].map(|at_s| (at_s / MINUTE_S).cast_signed());
        let rows = self.query(sql, minutes, |row| {
            let amount = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok((row.get::<_, String>(0)?, row.get(1)?, amount(2)?, amount(3)?))
        })?;
        let spent = |(by, model, tokens, nano_usd): (String, _, _, _)| {
            let by: By = serde_json::from_str(&by).map_err(|_bad| self.damaged("what was spent"))?;
            let kind = |word: &str| {
                [RunKind::Agent, RunKind::Team, RunKind::Workflow]
                    .into_iter()
                    .find(|kind| kind.as_str() == word)
            };
            let by = by.into_iter().filter_map(|(word, name)| Some((kind(&word)?, name))).collect();
            Ok(Expense { by, model, tokens, nano_usd })
        };
        rows.into_iter().map(spent).collect()
    }
}
