//! The HTTP client under both transports: connections, certificates, one exchange.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{Attempt, Endpoint, Protocol, Tls};

/// How requests name their sender.
pub(super) const USER_AGENT: &str =
    concat!("agno-otel/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// Why certificates cannot be used. Names the file and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system has no certificates we can read.
    #[error("cannot read the system's certificates; name a file with --certificate")]
    System {
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {what} from {path}")]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// A file has none of what it should have.
    #[error("{path} holds no {what}; expected PEM")]
    Empty {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used.
    #[error("the certificate {certificate} cannot be used with the key {key}")]
    Identity {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// No protocol version is left to speak.
    #[error("TLS cannot be set up")]
    Setup {
        /// Why not.
        source: rustls::Error,
    },
}

/// Sends requests and gives back answers.
#[derive(Debug, Clone)]
pub(super) struct Client {
    client: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What HTTP/2 says after the body.
    pub(super) trailers: HeaderMap,
}

impl Answer {
    /// The time of the server's clock, to the second, in Unix nanoseconds.
    pub(super) fn date_ns(&self) -> Option<u64> {
        let date = httpdate::parse_http_date(self.headers.get(http::header::DATE)?.to_str().ok()?).ok()?;
        let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    }
}

impl Client {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, TlsError> {
        let is_https = endpoint.url.scheme_str() == Some("https");
        // Certificates are read only where they are needed: it takes a while.
        let tls = if is_https {
            config(&endpoint.tls)?
        } else {
            with_roots(RootCertStore::empty())?.with_no_client_auth()
        };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let mut client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let connector = match endpoint.protocol {
            Protocol::HttpProtobuf => builder.enable_http1().build(),
            Protocol::Grpc => {
                client.http2_only(true);
                builder.enable_http2().build()
            }
        };
        Ok(Self { client: client.build(connector) })
    }

    /// One request and its answer, of which no more than so many bytes are read, or why there is none.
    pub(super) async fn exchange(
        &self,
        message: http::Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<Answer, NoAnswer> {
        let response = self.client.request(message).await;
        let response = response
            .map_err(|error| NoAnswer { reason: reason(&error), may_have_arrived: !error.is_connect() })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit_bytes).collect().await;
        let answer = Answer { status: head.status, headers: head.headers, ..Answer::default() };
        match body {
            Ok(body) => {
                let trailers = body.trailers().cloned().unwrap_or_default();
                Ok(Answer { body: body.to_bytes(), trailers, ..answer })
            }
            // An answer too long to be one still has a status.
            Err(_) if !answer.status.is_success() => Ok(answer),
            Err(error) => {
                Err(NoAnswer { reason: format!("the answer broke off: {error}"), may_have_arrived: true })
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct NoAnswer {
    reason: String,
    /// False where there was no connection; else nobody knows what became of the request.
    may_have_arrived: bool,
}

impl From<NoAnswer> for Attempt {
    fn from(NoAnswer { reason, may_have_arrived }: NoAnswer) -> Self {
        Self::TryLater { wait: None, may_have_arrived, reason }
    }
}

/// Why there is no answer, in words that help.
fn reason(error: &hyper_util::client::legacy::Error) -> String {
    let chain = crate::error::Chain(error).to_string();
    // What is below is what the user can do something about.
    let cause = chain.rsplit("tcp connect error: ").next().unwrap_or_default();
    let cause = cause
        .trim_start_matches("client error (Connect): ")
        .trim_start_matches("client error (SendRequest): ");
    let known = |list: &[(&str, &'static str)]| {
        list.iter().find(|(words, _)| cause.contains(words)).map(|(_, said)| *said)
    };
    known(&PLAINLY).map_or_else(|| format!("{cause}{}", known(&ADVICE).unwrap_or_default()), str::to_owned)
}

/// What libraries say in words of their own, and what it means.
const PLAINLY: [(&str, &str); 4] = [
    ("InvalidContentType", "it does not speak TLS: http instead of https?"),
    ("UnknownIssuer", "its certificate is not trusted: name its authority with --certificate"),
    (
        "CaUsedAsEndEntity",
        "its certificate is made for an authority (CA:TRUE), not for a server; it needs one of its own",
    ),
    ("Name or service not known", "there is no such host: is the name right?"),
];

/// What may help, behind what they say.
const ADVICE: [(&str, &str); 7] = [
    ("Connection refused", "; nobody listens there: is a Collector running?"),
    ("failed to lookup", "; the host's name cannot be looked up now"),
    ("invalid HTTP", "; it does not speak HTTP/1: is it the port of gRPC (--protocol grpc)?"),
    ("unexpected message", "; it does not speak HTTP/1: is it the port of gRPC (--protocol grpc)?"),
    (
        "frame with invalid size",
        "; it does not speak HTTP/2: is it the port of HTTP (--protocol http/protobuf)?",
    ),
    ("stream closed", "; it does not speak HTTP/2: is it the port of HTTP (--protocol http/protobuf)?"),
    ("http2 error", "; it does not speak HTTP/2: is it the port of HTTP (--protocol http/protobuf)?"),
];

fn with_roots(
    roots: RootCertStore,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|source| TlsError::Setup { source })?.with_root_certificates(roots))
}

fn config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let builder = with_roots(roots(tls.roots.as_deref())?)?;
    let Some(identity) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&identity.certificate)?;
    let read = |source| TlsError::Read { what: "a private key", path: identity.key.clone(), source };
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(read)?;
    builder.with_client_auth_cert(chain, key).map_err(|source| TlsError::Identity {
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
        source,
    })
}

fn roots(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = path {
        roots.add_parsable_certificates(certificates(path)?);
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::System { source: io::Error::other(errors.join("; ")) });
    }
    Ok(roots)
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificates";
    let read = |source| TlsError::Read { what: WHAT, path: path.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(read)?.collect();
    let found = found.map_err(read)?;
    if found.is_empty() {
        return Err(TlsError::Empty { what: WHAT, path: path.to_owned() });
    }
    Ok(found)
}
