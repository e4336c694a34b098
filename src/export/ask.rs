//! Questions to servers that stand around the destination: one GET, one answer.

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{self, Client, TlsError};
use super::{Endpoint, Protocol, first_chars};

/// More of an answer is not read: traces with content are large.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Asks one server. It sends nothing but the question, the endpoint's headers with it.
#[derive(Debug)]
pub struct Asker {
    client: Client,
    endpoint: Endpoint,
}

/// What a server told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The body.
    pub body: Bytes,
    /// What its clock says, to the second, in Unix nanoseconds.
    pub date_ns: Option<u64>,
}

/// Why a server told nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// There was no answer within the timeout, or none at all.
    #[error("{reason}")]
    NoAnswer {
        /// Why not.
        reason: String,
    },
    /// An answer that is none to the question.
    #[error("{path}: HTTP {status}{said}")]
    Status {
        /// What was asked for.
        path: String,
        /// With what it was answered.
        status: http::StatusCode,
        /// And in which words.
        said: String,
    },
}

impl Asker {
    /// Connects lazily: nothing is sent before the first question. Fails where certificates cannot be read.
    pub fn of(endpoint: Endpoint) -> Result<Self, TlsError> {
        let endpoint = Endpoint { protocol: Protocol::HttpProtobuf, ..endpoint };
        Ok(Self { client: Client::new(&endpoint)?, endpoint })
    }

    /// Whom it asks, as shown to people.
    pub fn target(&self) -> String {
        let url = &self.endpoint.url;
        let host = url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{host}{}", url.scheme_str().unwrap_or("http"), url.path().trim_end_matches('/'))
    }

    /// Asks for a path below the endpoint's URL, and waits for the answer.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Told, AskError> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let question = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let no_answer = |reason| AskError::NoAnswer { reason };
        let mut message = http::Request::get(format!("{}/{path}{question}", self.target()))
            .body(Full::new(Bytes::new()))
            .map_err(|error| no_answer(error.to_string()))?;
        message.headers_mut().clone_from(&self.endpoint.headers);
        message.headers_mut().insert(USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
        message.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let exchange = self.client.exchange(message, MAX_ANSWER_BYTES);
        let answer = tokio::time::timeout(self.endpoint.timeout, exchange)
            .await
            .map_err(|_elapsed| no_answer(format!("no answer within {:?}", self.endpoint.timeout)))?
            // Its advice is about where telemetry goes.
            .map_err(|error| no_answer(error.to_string().replace(": is a Collector running?", "")))?;
        if !answer.status.is_success() {
            // Pages for people are left out.
            let said = first_chars(&String::from_utf8_lossy(&answer.body));
            let said =
                if said.is_empty() || said.contains('<') { String::new() } else { format!(": {said}") };
            return Err(AskError::Status { path: format!("/{path}"), status: answer.status, said });
        }
        Ok(Told { date_ns: answer.date_ns(), body: answer.body })
    }
}
