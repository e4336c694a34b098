//! Sessions compared with what Agno states of them, family by family.

use std::collections::BTreeMap;

use super::copies::Copies;
use super::{Family, Gathered, Intake, Surveyed};
use crate::framework::agno::reconcile::{Account, Booked, Settled, StatedSession, account};
use crate::framework::{Keep, Oddities};
use crate::model::RunKey;
use crate::source::Error;

impl Surveyed {
    /// Compares the sessions of a family with what Agno states of them, by their ids. `received_ns` stands in where a run
    /// carries no time at all.
    pub async fn accounts(
        &self,
        family: &Family<'_>,
        stated: &BTreeMap<String, StatedSession>,
        received_ns: u64,
    ) -> Result<(Vec<Account>, Oddities), Error> {
        let intake = self.collect(&[*family], Keep::Figures).await?;
        Ok(intake.accounts(stated, received_ns))
    }
}

impl Intake {
    /// Compares the sessions of all that was gathered with what Agno states of them. Runs without a session are in
    /// nobody's books.
    pub fn accounts(
        self,
        stated: &BTreeMap<String, StatedSession>,
        received_ns: u64,
    ) -> (Vec<Account>, Oddities) {
        let booked = self.booked();
        let gathered = self.finish(received_ns);
        let settled = settled(&gathered);
        let mut sessions = BTreeMap::<&str, Vec<&Booked>>::new();
        for run in &booked {
            if let Some(session) = run.session_id.as_deref() {
                sessions.entry(session).or_default().push(run);
            }
        }
        let account = |(session, runs): (&str, Vec<&Booked>)| {
            account(session, stated.get(session).cloned(), &runs, &settled)
        };
        let accounts = sessions.into_iter().map(account).collect();
        (accounts, gathered.oddities)
    }

    /// Every run as it was stored, the copies of forked sessions too.
    fn booked(&self) -> Vec<Booked> {
        self.runs.values().cloned().map(Copies::merged).map(|run| Booked::of(&run)).collect()
    }
}

/// The runs that count, with their times.
fn settled(gathered: &Gathered) -> BTreeMap<&RunKey, Settled<'_>> {
    let mut settled = BTreeMap::new();
    for (trace, times) in gathered.forest.traces.iter().zip(&gathered.times) {
        for (node, times) in trace.nodes.iter().zip(times) {
            if let Some(run) = gathered.forest.runs.get(node.run) {
                let interval = Some((times.run.start_ns, times.run.end_ns));
                settled.insert(&run.key, Settled { run, interval });
            }
        }
    }
    settled
}
