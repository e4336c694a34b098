//! Passwords in a file, as libpq keeps them in `~/.pgpass`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The password for a host, port, database and user, of the first line that fits.
pub(super) fn password(path: &Path, wanted: [&str; 4]) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "left out: others may read this file of passwords; chmod 600 it");
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| of_line(line, wanted))
}

/// `host:port:database:user:password`; `*` fits all, `\` takes the next letter as it is.
fn of_line(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == ':' && fields.len() < 5 {
            fields.push(String::new());
            continue;
        }
        let letter = if letter == '\\' { letters.next()? } else { letter };
        fields.last_mut()?.push(letter);
    }
    let password = fields.get(4)?;
    // A socket is looked up as localhost too.
    let is_local = wanted.first().is_some_and(|host| host.starts_with('/'));
    let fits = |(at, (field, wanted)): (usize, (&String, &str))| {
        field == "*" || field == wanted || (at == 0 && is_local && field == "localhost")
    };
    fields.iter().zip(wanted).enumerate().all(fits).then(|| password.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [&str; 4] = ["db", "5432", "agno", "ai"];

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let lines = [
            ("db:5432:agno:ai:pw", Some("pw")),
            ("*:*:*:*:a\\:b\\\\c:d", Some("a:b\\c:d")),
            ("other:5432:agno:ai:pw", None),
            ("# db:5432:agno:ai:pw", None),
            ("db:5432:agno", None),
        ];
        for (line, password) in lines {
            assert_eq!(of_line(line, WANTED).as_deref(), password, "{line}");
        }
        assert_eq!(of_line("localhost:*:*:*:pw", ["/tmp", "5432", "agno", "ai"]).as_deref(), Some("pw"));
    }

    #[test]
    fn a_file_that_others_may_read_is_left_out() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("pgpass");
        std::fs::write(&path, "no:1:such:line:x\n*:*:agno:*:pw\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(password(&path, WANTED), None);
        mode(0o600);
        assert_eq!(password(&path, WANTED).as_deref(), Some("pw"));
        assert_eq!(password(&folder.path().join("none"), WANTED), None);
    }
}
