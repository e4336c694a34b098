//! What of a config file is secret, for whoever asks who else may read it.

use std::path::PathBuf;

use super::{File, GENERAL, Keys, Secret};

impl File {
    /// Secrets that stand in the file itself, by what messages call them: headers, the token, URLs with a password.
    pub fn inline_secrets(&self) -> Vec<String> {
        let has_user = |text: &str| {
            let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
            authority.split(['/', '?']).next().unwrap_or_default().contains('@')
        };
        let mut names = Vec::new();
        for (name, secret, is_url) in self.secrets() {
            if let Secret::Text(text) = secret
                && (!is_url || has_user(text))
            {
                names.push(name);
            }
        }
        let with_password = |path: String| {
            let user = path.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
            user.is_some_and(|(user, _)| user.contains(':'))
        };
        let paths = self.sections.source.iter().map(|source| source.path.0.display().to_string());
        names.extend(paths.filter(|path| with_password(path.clone())).map(|_| "source.path".to_owned()));
        names
    }

    /// Files that hold one secret each, by what messages call them.
    pub fn secret_files(&self) -> Vec<(String, PathBuf)> {
        let of = |(name, secret, _): (String, &Secret, bool)| match secret {
            Secret::File(path) => Some((name, self.beside(path))),
            _ => None,
        };
        self.secrets().into_iter().filter_map(of).collect()
    }

    /// Each with what messages call it, and whether it is a URL.
    fn secrets(&self) -> Vec<(String, &Secret, bool)> {
        let otlp = &self.sections.otlp;
        let mut secrets = Vec::new();
        for (section, keys) in [
            (GENERAL, &otlp.all),
            ("otlp.traces", &otlp.traces),
            ("otlp.metrics", &otlp.metrics),
            ("otlp.logs", &otlp.logs),
        ] {
            let Keys { endpoint, headers, .. } = keys;
            if let Some(url) = endpoint {
                secrets.push((self.name(section, "endpoint", url), url.get_ref(), true));
            }
            for (key, value) in headers.iter().flatten() {
                let key = format!("headers.{}", key.0);
                secrets.push((self.name(section, &key, value), value.get_ref(), false));
            }
        }
        if let Some(token) = &self.sections.listen.token {
            secrets.push((self.name("listen", "token", token), token.get_ref(), false));
        }
        secrets
    }
}
