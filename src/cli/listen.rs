//! `run --listen`: what the server is asked, answered by whoever has the state file.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::{Flags, Listen, MetricsWay};
use crate::follow::{Following, Post};
use crate::framework::Keep;
use crate::otel::open_metrics;
use crate::release;
use crate::serve::{self, Answer, Ask, Health, Server, WAITING_ASKS};
use crate::state;

/// Intervals of metrics for which a new series is shown at zero: a scraper that comes once in each sees it.
const HOLD_INTERVALS: u32 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct ListenFlags {
    /// Take runs by HTTP too: POST them to /v1/runs. A port alone is one of 127.0.0.1; other machines need a token
    /// [env: AGNO_OTEL_LISTEN; default: nobody listens]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// File of the token that those who hand runs over must show [env: AGNO_OTEL_LISTEN_TOKEN has the token itself]
    #[arg(long, value_name = "FILE")]
    pub(super) listen_token_file: Option<PathBuf>,
    /// PEM file of the certificate to listen with, for https
    #[arg(long, value_name = "FILE")]
    pub(super) listen_certificate: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE")]
    pub(super) listen_key: Option<PathBuf>,
}

impl ListenFlags {
    /// These flags beside others.
    pub(super) fn beside(self, others: Flags) -> Flags {
        Flags {
            listen: self.listen,
            listen_token_file: self.listen_token_file,
            listen_certificate: self.listen_certificate,
            listen_key: self.listen_key,
            ..others
        }
    }
}

/// A server that listens.
pub(super) struct Listening {
    server: Server,
    /// How long a new series is shown at zero; none where metrics are not shown.
    hold: Option<Duration>,
}

impl Listening {
    /// Listens. Metrics are shown if that is the way they go.
    pub(super) async fn start(
        listen: Listen,
        keep: Keep,
        (way, every): (MetricsWay, Duration),
    ) -> Result<Self, serve::Error> {
        if listen.is_public() && listen.tls.is_none() {
            warn!(
                address = %listen.address,
                "runs and the token come over plain HTTP; give --listen-certificate and --listen-key, or a proxy with TLS"
            );
        }
        let server = Server::bind(listen, keep).await?;
        info!(url = server.url(), "listening");
        let hold = (way == MetricsWay::Scrape).then_some(every * HOLD_INTERVALS);
        Ok(Self { server, hold })
    }
}

/// Serves until `stopping`, and ends what is under way.
pub(super) async fn serve(
    following: &Following,
    listening: Option<Listening>,
    health: &RefCell<Health>,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Some(Listening { server, hold }) = listening else { return Ok(()) };
    let (asks, asked) = mpsc::channel(WAITING_ASKS);
    let serving = async {
        server.serve(asks, stopping).await;
        Ok::<(), state::Error>(())
    };
    tokio::try_join!(serving, answer(following, asked, hold, health))?;
    Ok(())
}

/// Answers until nobody can ask any more.
async fn answer(
    following: &Following,
    mut asked: mpsc::Receiver<Ask>,
    hold: Option<Duration>,
    health: &RefCell<Health>,
) -> Result<(), state::Error> {
    let mut asks = Vec::new();
    while asked.recv_many(&mut asks, WAITING_ASKS).await > 0 {
        let mut takes = Vec::new();
        for ask in asks.drain(..) {
            match ask {
                Ask::Take { posts, answer } => takes.push((posts, answer)),
                Ask::Metrics { answer } => {
                    let shown = hold.map(|hold| metrics(following, hold)).transpose()?;
                    answer.send(shown).ok();
                }
                Ask::Ready { answer } => {
                    answer.send(health.borrow().failing(Instant::now())).ok();
                }
            }
        }
        take(following, takes)?;
    }
    Ok(())
}

/// Keeps what several requests brought in one commit: the disk is waited for once.
fn take(following: &Following, takes: Vec<(Vec<Post>, oneshot::Sender<Answer>)>) -> Result<(), state::Error> {
    if takes.is_empty() {
        return Ok(());
    }
    let (mut all, mut waiting) = (Vec::new(), Vec::new());
    for (posts, answer) in takes {
        waiting.push((posts.len(), answer));
        all.extend(posts);
    }
    let mut takings = following.take(all)?.map(Vec::into_iter);
    for (count, answer) in waiting {
        let own = takings.as_mut().map(|takings| takings.by_ref().take(count).collect());
        // Who has gone meanwhile will hand over the same runs again.
        answer.send(own.map_or(Answer::Full, Answer::Taken)).ok();
    }
    Ok(())
}

fn metrics(following: &Following, hold: Duration) -> Result<String, state::Error> {
    let now_ns = following.clock.now_ns();
    let mut state = following.state.borrow_mut();
    release::update(&mut state, now_ns)?;
    let hold_ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
    let mut shown = state.scrape(now_ns, hold_ns)?;
    shown.extend(release::budgets(&mut state, &following.books(), now_ns)?);
    Ok(open_metrics::text(&shown, &following.resource))
}
