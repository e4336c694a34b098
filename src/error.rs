//! An error and its causes on one line.

use std::error::Error;
use std::fmt;

/// Shows an error with its causes, each once: `cannot read a.db: disk I/O error`.
#[derive(Debug)]
pub struct Chain<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{}", self.0)?;
        let mut shown = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some libraries repeat their cause in their own words, and some causes what was said already.
            if !shown.ends_with(&words) && !words.ends_with(&shown) {
                write!(text, ": {words}")?;
                shown = words;
            }
            cause = error.source();
        }
        Ok(())
    }
}
