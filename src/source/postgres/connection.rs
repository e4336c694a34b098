//! One connection to a database, over which it is asked one page at a time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::super::Error;
use super::super::url::PostgresUrl;
use super::Name;
use super::reason::{is_of_tls, reason};
use super::settings::Settings;

/// How long the server may work on one page.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an answer is waited for, network included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// A database.
pub(super) struct Connection {
    /// What it is called in messages: its URL without the password.
    pub(super) name: PathBuf,
    settings: Settings,
    open: Mutex<Option<Open>>,
    /// How long a table that is locked is waited for.
    lock_patience: Duration,
    /// How often it was opened.
    openings: AtomicU64,
    /// It must stay the one it is: what it holds would be lost.
    is_pinned: AtomicBool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.name.display())
    }
}

struct Open {
    client: Client,
    /// What moves the bytes; it ends with us.
    _task: JoinSet<()>,
}

impl Connection {
    pub(super) fn to(url: &PostgresUrl, lock_patience: Duration) -> Result<Self, Error> {
        let name = PathBuf::from(url.to_string());
        let settings = match Settings::of(url, &|variable| std::env::var(variable).ok()) {
            Ok(settings) => settings,
            Err(reason) => return Err(Error::Url { path: name, reason }),
        };
        let (open, openings, is_pinned) = Default::default();
        Ok(Self { name, settings, open, lock_patience, openings, is_pinned })
    }

    /// Which connection it is: another number after it was opened again.
    pub(super) fn opening(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// From now on a connection that ended is an error, and not opened again; or no longer.
    pub(super) fn pin(&self, is_pinned: bool) {
        self.is_pinned.store(is_pinned, Ordering::Relaxed);
    }

    /// The port that is asked.
    pub(super) fn port(&self) -> Option<u16> {
        self.settings.config.get_ports().first().copied()
    }

    /// The rows of one statement, which reads this table.
    ///
    /// By the simple protocol, with everything in one message: one round trip, nothing prepared and nothing set that
    /// outlives the transaction, so that any pooler may stand between.
    pub(super) async fn rows(&self, table: &Name, select: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        let sql = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; {select}; COMMIT",
            STATEMENT_TIMEOUT.as_millis(),
            self.lock_patience.as_millis()
        );
        let mut open = self.open.lock().await;
        let used = open.take().filter(|open| !open.client.is_closed());
        let is_pinned = self.is_pinned.load(Ordering::Relaxed);
        let (is_fresh, opened) = match used {
            Some(opened) => (false, opened),
            None if is_pinned => return Err(self.ended()),
            None => (true, self.connect().await?),
        };
        // Put back only if there was an answer: nothing is asked after one that may never come.
        let answer = self.answer(&opened, &sql).await?;
        let (opened, answer) = match answer {
            // Between two families a server may have thought us idle for too long.
            Err(error) if error.is_closed() && !is_fresh && !is_pinned => {
                let opened = self.connect().await?;
                let answer = self.answer(&opened, &sql).await?;
                (opened, answer)
            }
            answer => (opened, answer),
        };
        *open = Some(opened);
        let messages = answer.map_err(|error| self.error(&error, table))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    async fn answer(
        &self,
        open: &Open,
        sql: &str,
    ) -> Result<Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>, Error> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, open.client.simple_query(sql)).await;
        answer.map_err(|_elapsed| Error::TimedOut { path: self.name.clone(), waited: ANSWER_TIMEOUT })
    }

    fn ended(&self) -> Error {
        Error::Postgres { path: self.name.clone(), reason: "the connection ended".to_owned() }
    }

    async fn connect(&self) -> Result<Open, Error> {
        self.openings.fetch_add(1, Ordering::Relaxed);
        let limit = self.settings.connect_timeout;
        match tokio::time::timeout(limit, self.attempt()).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(Error::TimedOut { path: self.name.clone(), waited: limit }),
        }
    }

    async fn attempt(&self) -> Result<Open, Error> {
        let config = &self.settings.config;
        if config.get_ssl_mode() == SslMode::Disable {
            return self.without_tls().await;
        }
        let fault = |reason| Error::Url { path: self.name.clone(), reason };
        match config.connect(self.settings.tls.connector().map_err(fault)?).await {
            Ok((client, connection)) => Ok(opened(client, connection)),
            // As libpq does: `prefer` is no promise.
            Err(error) if config.get_ssl_mode() == SslMode::Prefer && is_of_tls(&error) => {
                tracing::warn!(path = %self.name.display(), "no TLS with this server; going on without");
                self.without_tls().await
            }
            Err(error) => Err(self.error(&error, &Name::default())),
        }
    }

    async fn without_tls(&self) -> Result<Open, Error> {
        let mut config = self.settings.config.clone();
        config.ssl_mode(SslMode::Disable);
        let (client, connection) =
            config.connect(NoTls).await.map_err(|error| self.error(&error, &Name::default()))?;
        Ok(opened(client, connection))
    }

    /// What to say of an error, which reading this table or connecting met.
    fn error(&self, error: &tokio_postgres::Error, table: &Name) -> Error {
        let path = self.name.clone();
        match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::Locked { path, waited: self.lock_patience },
            Some(&SqlState::QUERY_CANCELED) => Error::TimedOut { path, waited: STATEMENT_TIMEOUT },
            _ => {
                let user = self.settings.config.get_user().unwrap_or_default();
                Error::Postgres { path, reason: reason(error, user, table) }
            }
        }
    }
}

fn opened<S>(client: Client, connection: tokio_postgres::Connection<tokio_postgres::Socket, S>) -> Open
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    let mut task = JoinSet::new();
    task.spawn(async move {
        // Who asks is told by the client.
        if let Err(error) = connection.await {
            tracing::debug!("the connection to Postgres ended: {}", crate::error::Chain(&error));
        }
    });
    Open { client, _task: task }
}
