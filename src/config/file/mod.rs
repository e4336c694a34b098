//! The config file: TOML, read once, before anything else is done.
//!
//! No file is read that was not named: what lies in the folder one happens to stand in must not decide where
//! telemetry goes. Paths within are beside the file, wherever the command was started.

mod budgets;
mod mistakes;
mod price;
mod secrets;
mod sections;
mod values;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::export::Service;
pub use mistakes::Error;
pub use price::{Price, Prices};
pub use sections::{
    Content, History, Keys, Listen, MetricsWay, Names, Observe, Otlp, Owner, Run, Sections, Send, Source,
    State,
};
pub use values::{FilePath, HeaderKey, Secret};

/// The section of what holds for every signal.
const GENERAL: &str = "otlp";

/// A config file is a few kilobytes; what is larger is something else.
const MAX_BYTES: u64 = 1024 * 1024;

/// What a config file says; the default is what none says.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// What it says, with defaults where it says nothing.
    pub sections: Sections,
    path: PathBuf,
    /// Where its lines end, so that what is wrong with a value can be said with its line when it is used.
    line_ends: Vec<usize>,
}

impl File {
    /// Reads a file and checks all that can be checked without the environment.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let named = |source| Error::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .map_err(named)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(named)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
        }
        // What is invalid in it may be part of a secret.
        let text = String::from_utf8(bytes).ok().ok_or_else(|| Error::NotUtf8 { path: path.to_owned() })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut file = Self {
            sections: Sections::default(),
            path: path.to_owned(),
            line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
        };
        file.sections = toml::from_str(text).map_err(|error| mistakes::explain(&error, text, &file))?;
        Ok(file)
    }

    /// Where it is; none where no file was read.
    pub fn path_read(&self) -> Option<&Path> {
        Some(self.path.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// A path of the file, from where the command was started.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Where a source is, from where the command was started; standard input and URLs are what they are.
    pub fn source_path(&self, source: &Source) -> PathBuf {
        let path = &source.path.0;
        if path.as_os_str() == "-" || path.to_string_lossy().contains("://") {
            path.clone()
        } else {
            self.beside(path)
        }
    }

    /// Where something stands: `agno-otel.toml:14`.
    fn place(&self, offset: usize) -> String {
        let line = self.line_ends.partition_point(|end| *end < offset) + 1;
        format!("{}:{line}", self.path.display())
    }

    /// What is said of one signal, else of all, with the section that says it.
    pub(super) fn of<'f, T>(
        &'f self,
        signal: Service,
        of: impl Fn(&'f Keys) -> Option<T>,
    ) -> Option<(&'static str, T)> {
        let otlp = &self.sections.otlp;
        let (section, own) = match signal {
            Service::Traces => ("otlp.traces", &otlp.traces),
            Service::Metrics => ("otlp.metrics", &otlp.metrics),
            Service::Logs => ("otlp.logs", &otlp.logs),
        };
        of(own).map(|value| (section, value)).or_else(|| Some((GENERAL, of(&otlp.all)?)))
    }

    /// An endpoint, with what messages call it, and whether it is the signal's own.
    pub(super) fn endpoint(&self, signal: Service) -> Option<(String, &Secret, bool)> {
        let (section, endpoint) = self.of(signal, |keys| keys.endpoint.as_ref())?;
        Some((self.name(section, "endpoint", endpoint), endpoint.get_ref(), section != GENERAL))
    }

    /// Headers: what messages call each, its name, and its value.
    pub(super) fn headers(&self, signal: Service) -> Vec<(String, &str, &Secret)> {
        let (section, headers) =
            self.of(signal, |keys| keys.headers.as_ref()).map_or((GENERAL, None), |(s, h)| (s, Some(h)));
        let named = |(key, value): (&'_ HeaderKey, &'_ Spanned<Secret>)| {
            self.name(section, &format!("headers.{}", key.0), value)
        };
        let headers = headers.into_iter().flatten();
        headers.map(|entry| (named(entry), entry.0.0.as_str(), entry.1.get_ref())).collect()
    }

    /// A file of the settings, from where the command was started, with what messages call it.
    pub(super) fn path<'f>(
        &'f self,
        signal: Service,
        key: &str,
        of: impl Fn(&'f Keys) -> Option<&'f Spanned<FilePath>>,
    ) -> Option<(String, PathBuf)> {
        let (section, path) = self.of(signal, of)?;
        Some((self.name(section, key, path), self.beside(&path.get_ref().0)))
    }

    /// What a message calls a setting: `agno-otel.toml:14: otlp.endpoint`.
    pub(super) fn name<T>(&self, section: &str, key: &str, value: &Spanned<T>) -> String {
        format!("{}: {section}.{key}", self.place(value.span().start))
    }
}

#[cfg(test)]
mod tests;
