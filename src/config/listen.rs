//! Where runs are taken by HTTP, and from whom.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::file::Secret;
use super::{Config, Error};

const ADDRESS: &str = "AGNO_OTEL_LISTEN";
const TOKEN: &str = "AGNO_OTEL_LISTEN_TOKEN";
const TOKEN_FILE: &str = "--listen-token-file";

/// Where runs are taken by HTTP, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where. Port 0 is any that is free.
    pub address: SocketAddr,
    /// What others must show; none is asked of programs on this machine.
    pub token: Option<Token>,
    /// Files of the certificate and its key; without them it is plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Bytes a body may have.
    pub body_limit_bytes: u64,
    /// Bytes it may have once it is decompressed.
    pub decompressed_limit_bytes: u64,
}

/// A secret that is shown with every request. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("Token(…)")
    }
}

impl Listen {
    /// True if other machines can get there.
    pub fn is_public(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl Config<'_> {
    /// Where runs are taken by HTTP, checked. None: that was not asked for.
    pub fn listen(&self) -> Result<Option<Listen>, Error> {
        let section = &self.file.sections.listen;
        let flag = self.flags.listen.clone().map(|said| ("--listen".to_owned(), said));
        let said = flag.or_else(|| Some((ADDRESS.to_owned(), self.get(ADDRESS)?))).or_else(|| {
            let said = section.address.as_ref()?;
            Some((self.file.name("listen", "address", said), said.get_ref().clone()))
        });
        let Some((name, value)) = said else { return Ok(None) };
        let address = address(value.trim()).ok_or(Error::Listen { name, value })?;
        let of_file = |path: &super::file::FilePath| self.file.beside(&path.0);
        let certificate =
            self.flags.listen_certificate.clone().or_else(|| section.certificate.as_ref().map(of_file));
        let key = self.flags.listen_key.clone().or_else(|| section.key.as_ref().map(of_file));
        let half = |name: &str, missing| Error::HalfIdentity { name: name.to_owned(), missing };
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(half("the certificate to listen with", "its key")),
            (None, Some(_)) => return Err(half("the key to listen with", "its certificate")),
        };
        let listen = Listen {
            address,
            token: self.token()?,
            tls,
            body_limit_bytes: section.body_limit_bytes,
            decompressed_limit_bytes: section.decompressed_limit_bytes,
        };
        if listen.is_public() && listen.token.is_none() {
            return Err(Error::Unguarded { address });
        }
        Ok(Some(listen))
    }

    fn token(&self) -> Result<Option<Token>, Error> {
        let section = &self.file.sections.listen;
        let (name, text) = if let Some(path) = &self.flags.listen_token_file {
            // A flag's path is not beside the file.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            (TOKEN_FILE.to_owned(), self.open(TOKEN_FILE, &Secret::File(path))?)
        } else if let Some(text) = self.get(TOKEN) {
            (TOKEN.to_owned(), text)
        } else if let Some(secret) = &section.token {
            let name = self.file.name("listen", "token", secret);
            let text = self.open(&name, secret.get_ref())?;
            (name, text)
        } else {
            return Ok(None);
        };
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token { name });
        }
        Ok(Some(Token(text.to_owned())))
    }
}

/// An address; a port alone is one of this machine's own.
fn address(text: &str) -> Option<SocketAddr> {
    let own = |port: &str| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    text.parse().ok().or_else(|| own(text)).or_else(|| own(text.strip_prefix("localhost:")?))
}
