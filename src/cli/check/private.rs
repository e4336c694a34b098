//! Files that are not everybody's: who may read them; and certificates: until when they hold.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Findings, Level, expiry, fixes};
use crate::cli::Ended;
use crate::config::{Config, MetricsWay, when};
use crate::error::Chain;
use crate::export::certificates;

const PERMISSIONS: &str = "permissions";

/// Whoever renews certificates needs some time.
const SOON_NS: u64 = 30 * 24 * 3600 * 1_000_000_000;

/// Where runs are taken, if they are.
pub(super) fn listen(findings: &mut Findings, config: Config<'_>, way: MetricsWay) {
    const LISTEN: &str = "listen";
    match config.listen() {
        Ok(None) if way == MetricsWay::Scrape => {
            let what = crate::config::Error::Unscraped.to_string();
            findings.add(Level::Problem(Ended::Misconfigured), LISTEN, what, "");
        }
        Ok(None) => {}
        Ok(Some(listen)) => {
            let token = if listen.token.is_some() { "with a token" } else { "without a token" };
            let plain = listen.is_public() && listen.tls.is_none();
            let what = format!("runs are taken at {}, {token}", listen.address);
            if plain {
                findings.note(LISTEN, format!("{what}, over plain HTTP"), fixes::PLAIN_HTTP);
            } else {
                findings.fine(LISTEN, what);
            }
        }
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), LISTEN, Chain(&error).to_string(), "");
        }
    }
}

/// Who else may read what is secret, or what was counted.
pub(super) fn permissions(findings: &mut Findings, config: Config<'_>, state: Option<&Path>) {
    let file = config.file;
    let mut private: Vec<(String, PathBuf)> = file.secret_files();
    private.extend(state.map(|path| ("the state file".to_owned(), path.to_owned())));
    let token = config.flags.listen_token_file.clone();
    private.extend(token.map(|path| ("--listen-token-file".to_owned(), path)));
    private.extend(keys(config).into_iter().map(|path| ("a private key".to_owned(), path)));
    if let (Some(path), Some(name)) = (file.path_read(), file.inline_secrets().first()) {
        private.push((format!("{name}, a secret"), path.to_owned()));
    }
    let (mut seen, mut open) = (BTreeSet::new(), 0);
    for (name, path) in &private {
        // What cannot be read is said where it is used.
        let Ok(metadata) = std::fs::metadata(path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o004 != 0 && seen.insert(path) {
            open += 1;
            let what = format!("{}: others may read {name} (mode {mode:03o})", path.display());
            findings.note(PERMISSIONS, what, format!("{} {}", fixes::CHMOD, path.display()));
        }
    }
    if open == 0 && !private.is_empty() {
        findings.fine(PERMISSIONS, "others can read neither secrets nor what was counted");
    }
}

fn keys(config: Config<'_>) -> BTreeSet<PathBuf> {
    let listen = config.listen().ok().flatten().and_then(|listen| Some(listen.tls?.1));
    let identities = tls(config).into_iter().filter_map(|tls| Some(tls.identity?.key));
    identities.chain(listen).collect()
}

fn tls(config: Config<'_>) -> Vec<crate::export::Tls> {
    config.destination().map(|to| vec![to.traces.tls, to.metrics.tls]).unwrap_or_default()
}

/// Until when certificates hold: our own, and the last of those we trust.
pub(super) fn certificate_ends(findings: &mut Findings, config: Config<'_>, now_ns: u64) {
    let mut files = BTreeSet::new();
    for tls in tls(config) {
        files.extend(tls.roots.map(|path| (path, true)));
        files.extend(tls.identity.map(|identity| (identity.certificate, false)));
    }
    let listen = config.listen().ok().flatten().and_then(|listen| listen.tls);
    files.extend(listen.map(|(certificate, _)| (certificate, false)));
    for (path, is_trusted) in files {
        let about = format!("certificate {}", path.display());
        let chain = match certificates(&path) {
            Ok(chain) => chain,
            Err(error) => {
                findings.add(Level::Problem(Ended::Misconfigured), &about, Chain(&error).to_string(), "");
                continue;
            }
        };
        let ends = chain.iter().filter_map(|der| expiry::not_after_ns(der));
        // Our own comes first, and behind it what leads to a root.
        let end_ns = if is_trusted { ends.max() } else { ends.take(1).next() };
        let Some(end_ns) = end_ns else { continue };
        let until = when::text(end_ns);
        if end_ns <= now_ns {
            let what = format!("ended at {until}");
            findings.add(Level::Problem(Ended::Misconfigured), &about, what, fixes::RENEW);
        } else if end_ns - now_ns < SOON_NS {
            findings.note(&about, format!("ends at {until}"), fixes::RENEW);
        } else {
            findings.fine(&about, format!("holds until {until}"));
        }
    }
}
