//! Secrets that a config file refers to, looked up when they are used.

use std::io::Read as _;
use std::path::Path;

use super::file::Secret;
use super::{Config, Error};

/// Keys and tokens have a few hundred bytes; what is larger is something else.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Config<'_> {
    /// A secret's text. Messages have the name of its setting and say where it was looked for, never what was found.
    pub(super) fn open(&self, name: &str, secret: &Secret) -> Result<String, Error> {
        match secret {
            Secret::Text(text) => Ok(text.clone()),
            Secret::Variable(variable) => self
                .get(variable)
                .ok_or_else(|| Error::NoVariable { name: name.to_owned(), variable: variable.clone() }),
            Secret::File(path) => {
                let path = self.file.beside(path);
                let text =
                    read(&path).map_err(|source| Error::NoSecret { name: name.to_owned(), path, source })?;
                Ok(text.trim_end_matches(['\n', '\r']).to_owned())
            }
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(std::io::Error::other(format!("it has more than {MAX_SECRET_BYTES} bytes")));
    }
    Ok(text)
}
