//! Where requests of one signal go: flags over the signal's own variables over the general ones, and those over the
//! config file, where the signal's own section wins likewise.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{Config, Error};
use crate::export::{Compression, Endpoint, Identity, Protocol, Service, Tls};

/// How long one attempt may take by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a Collector listens by default.
fn default_endpoint(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::HttpProtobuf => "http://localhost:4318",
        Protocol::Grpc => "http://localhost:4317",
    }
}

/// The part of variable names that names a signal, and the path of its requests.
fn names(signal: Service) -> (&'static str, &'static str) {
    match signal {
        Service::Traces => ("TRACES", "v1/traces"),
        Service::Metrics => ("METRICS", "v1/metrics"),
        Service::Logs => ("LOGS", "v1/logs"),
    }
}

impl Config<'_> {
    pub(super) fn endpoint(&self, signal: Service) -> Result<Endpoint, Error> {
        let protocol = self.protocol(signal)?;
        let (url, credentials) = self.url(signal, protocol)?;
        let mut headers = self.headers(signal)?;
        if let Some((name, value)) = credentials.filter(|(name, _)| !headers.contains_key(name)) {
            headers.insert(name, value);
        }
        let compression = self.compression(signal, &url)?;
        Ok(Endpoint {
            protocol,
            headers,
            timeout: self.timeout(signal)?,
            compression,
            tls: self.tls(signal)?,
            url,
        })
    }

    /// A setting of one signal: the flag, else the signal's own variable, else the general one; with its name.
    fn setting(
        &self,
        signal: Service,
        flag: (&str, Option<&String>),
        name: &str,
    ) -> Option<(String, String)> {
        if let (flag, Some(value)) = flag {
            return Some((flag.to_owned(), value.clone()));
        }
        let (signal, _) = names(signal);
        [format!("OTEL_EXPORTER_OTLP_{signal}_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|variable| self.get(&variable).map(|value| (variable, value)))
    }

    fn protocol(&self, signal: Service) -> Result<Protocol, Error> {
        let setting = self.setting(signal, ("--protocol", self.flags.protocol.as_ref()), "PROTOCOL");
        let Some((name, value)) = setting else {
            let said = self.file.of(signal, |keys| keys.protocol);
            return Ok(said.map_or(Protocol::HttpProtobuf, |(_, protocol)| protocol));
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            "grpc" => Ok(Protocol::Grpc),
            _ => Err(Error::Protocol { name, value }),
        }
    }

    /// The URL, and the header that its user and password mean.
    fn url(
        &self,
        signal: Service,
        protocol: Protocol,
    ) -> Result<(Uri, Option<(HeaderName, HeaderValue)>), Error> {
        let (_, path) = names(signal);
        let (name, value, base) = self.address(signal, protocol)?;
        let (address, query) =
            value.trim().split_once('?').map_or((value.trim(), None), |(a, q)| (a, Some(q)));
        let (mut address, user) = split_user(address);
        if protocol == Protocol::Grpc && !address.contains("://") {
            let scheme = if self.is_insecure() { "http" } else { "https" };
            address = format!("{scheme}://{address}");
        }
        let mut whole = match protocol {
            Protocol::HttpProtobuf if base => format!("{}/{path}", address.trim_end_matches('/')),
            Protocol::HttpProtobuf | Protocol::Grpc => address.clone(),
        };
        whole.extend(query.into_iter().flat_map(|query| ["?", query]));
        let expected = default_endpoint(protocol);
        let url = http_url(&whole).ok_or(Error::Endpoint { name, value: shown(&address), expected })?;
        Ok((url, user.and_then(basic)))
    }

    /// A server that stands around the destination, by the URL a flag names, which may hold a user and a password: with
    /// the certificates of a signal, and without its headers, which are for the destination alone.
    pub fn server(
        &self,
        (flag, url): (&str, &str),
        like: Service,
        expected: &'static str,
    ) -> Result<Endpoint, Error> {
        let (address, user) = split_user(url.trim());
        let parsed = http_url(&address);
        let url =
            parsed.ok_or(Error::Endpoint { name: flag.to_owned(), value: shown(&address), expected })?;
        Ok(Endpoint {
            protocol: Protocol::HttpProtobuf,
            headers: user.and_then(basic).into_iter().collect(),
            timeout: self.timeout(like)?,
            compression: Compression::None,
            tls: self.tls(like)?,
            url,
        })
    }

    /// What was said, with its name, and whether it is the base of the URL.
    fn address(&self, signal: Service, protocol: Protocol) -> Result<(String, String, bool), Error> {
        if let Some(flag) = &self.flags.endpoint {
            return Ok(("--endpoint".to_owned(), flag.clone(), true));
        }
        let (part, _) = names(signal);
        let (own, general) = (format!("OTEL_EXPORTER_OTLP_{part}_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT");
        if let Some(value) = self.get(&own) {
            return Ok((own, value, false));
        }
        if let Some(value) = self.get(general) {
            return Ok((general.to_owned(), value, true));
        }
        match self.file.endpoint(signal) {
            Some((name, value, is_own)) => {
                let value = self.open(&name, value)?;
                Ok((name, value, !is_own))
            }
            None => Ok((general.to_owned(), default_endpoint(protocol).to_owned(), true)),
        }
    }

    /// What names the endpoint of a signal: a flag, a variable, a place in the config file. None: nothing does.
    pub fn endpoint_named_by(&self, signal: Service) -> Option<String> {
        let (name, ..) = self.address(signal, Protocol::HttpProtobuf).ok()?;
        let is_default = name == "OTEL_EXPORTER_OTLP_ENDPOINT" && self.get(&name).is_none();
        (!is_default).then_some(name)
    }

    /// Of gRPC endpoints that say no scheme: whether they are to be reached without TLS.
    fn is_insecure(&self) -> bool {
        self.get("OTEL_EXPORTER_OTLP_INSECURE").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Headers in the form of W3C baggage: `name=value,name=value`, percent-encoded, or else those of the file. Flags
    /// come on top.
    fn headers(&self, signal: Service) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = self.setting(signal, ("", None), "HEADERS") {
            for (place, entry) in
                value.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty())
            {
                let decoded = entry.split_once('=').and_then(|(key, value)| {
                    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                    header(key, &value)
                });
                let (key, value) =
                    decoded.ok_or_else(|| Error::Header { name: name.clone(), place: place + 1 })?;
                headers.insert(key, value);
            }
        } else {
            for (name, key, value) in self.file.headers(signal) {
                let value = self.open(&name, value)?;
                let (key, value) = header(key, &value).ok_or(Error::HeaderValue { name })?;
                headers.insert(key, value);
            }
        }
        for (place, entry) in self.flags.headers.iter().enumerate() {
            let split = entry.split_once('=').and_then(|(key, value)| header(key, value));
            let (key, value) =
                split.ok_or_else(|| Error::Header { name: "--header".to_owned(), place: place + 1 })?;
            headers.insert(key, value);
        }
        Ok(headers)
    }

    fn timeout(&self, signal: Service) -> Result<Duration, Error> {
        if let Some(timeout) = self.flags.timeout {
            return Ok(timeout);
        }
        let Some((name, value)) = self.setting(signal, ("", None), "TIMEOUT") else {
            return Ok(self.file.of(signal, |keys| keys.timeout).map_or(DEFAULT_TIMEOUT, |(_, said)| said));
        };
        let milliseconds: Option<u64> = value.trim().parse().ok();
        let milliseconds = milliseconds.filter(|milliseconds| *milliseconds > 0);
        milliseconds.map(Duration::from_millis).ok_or(Error::Timeout { name, value })
    }

    /// As asked for; else none to this machine, where it costs more than it saves, and gzip elsewhere, for every
    /// OTLP server understands it.
    fn compression(&self, signal: Service, url: &Uri) -> Result<Compression, Error> {
        let setting = self.setting(signal, ("--compression", self.flags.compression.as_ref()), "COMPRESSION");
        let Some((name, value)) = setting else {
            if let Some((_, said)) = self.file.of(signal, |keys| keys.compression) {
                return Ok(said);
            }
            return Ok(if is_loopback(url) { Compression::None } else { Compression::Gzip });
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(Error::Compression { name, value }),
        }
    }

    fn tls(&self, signal: Service) -> Result<Tls, Error> {
        let flags = self.flags;
        let said = |flag: (&str, &Option<String>), name| {
            let setting = self.setting(signal, (flag.0, flag.1.as_ref()), name);
            setting.map(|(name, path)| (name, PathBuf::from(path)))
        };
        let roots = said(("--certificate", &flags.certificate), "CERTIFICATE")
            .or_else(|| self.file.path(signal, "certificate", |keys| keys.certificate.as_ref()));
        let certificate = said(("--client-certificate", &flags.client_certificate), "CLIENT_CERTIFICATE")
            .or_else(|| {
                self.file.path(signal, "client_certificate", |keys| keys.client_certificate.as_ref())
            });
        let key = said(("--client-key", &flags.client_key), "CLIENT_KEY")
            .or_else(|| self.file.path(signal, "client_key", |keys| keys.client_key.as_ref()));
        let identity = match (certificate, key) {
            (Some((_, certificate)), Some((_, key))) => Some(Identity { certificate, key }),
            (None, None) => None,
            (Some((name, _)), None) => return Err(Error::HalfIdentity { name, missing: "the client's key" }),
            (None, Some((name, _))) => {
                return Err(Error::HalfIdentity { name, missing: "the client's certificate" });
            }
        };
        Ok(Tls { roots: roots.map(|(_, path)| path), identity })
    }
}

/// A whole URL of HTTP.
fn http_url(text: &str) -> Option<Uri> {
    // What stands behind the host is a port, or part of a password that was cut at its slash.
    let has_port = |url: &Uri| {
        url.authority().is_some_and(|authority| {
            let behind = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
            let behind = behind.rsplit_once(']').map_or(behind, |(_, behind)| behind);
            behind.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok())
        })
    };
    let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && has_port(url);
    text.parse().ok().filter(is_http)
}

/// True for addresses of this machine.
fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An address without the user and password it may hold, and those: `http://user:password@host/path`. What is
/// sent, logged and shown is the address alone.
fn split_user(address: &str) -> (String, Option<&str>) {
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let rest = user.and_then(|user| rest.get(user.len() + 1..)).unwrap_or(rest);
    (if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }, user)
}

/// What is wrong with a URL may be its password: one with a slash ends it where nobody expects.
fn shown(address: &str) -> String {
    address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, behind)| format!("…@{behind}"))
}

/// HTTP's basic authentication (RFC 7617).
fn basic(user: &str) -> Option<(HeaderName, HeaderValue)> {
    let user: Vec<u8> = percent_decode_str(user).collect();
    header("authorization", &format!("Basic {}", BASE64_STANDARD.encode(user)))
}

/// A header whose value no log shows.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}
