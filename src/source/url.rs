//! URLs of Postgres databases, as libpq, `SQLAlchemy` and Agno's documentation write them.
//!
//! A password in one is a secret: it is in no message, and not in what `Debug` shows.

use std::fmt;

use percent_encoding::percent_decode_str;

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE`, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// Who connects.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<String>,
    /// Hosts to try one after the other, with their ports; one that begins with `/` is the folder of a socket.
    pub hosts: Vec<(String, Option<u16>)>,
    /// The database.
    pub database: Option<String>,
    /// What follows the `?`.
    pub parameters: Vec<(String, String)>,
    /// Why it cannot be used, in words that hold nothing of it.
    pub fault: Option<&'static str>,
}

impl PostgresUrl {
    /// None: it is no such URL, but a path.
    pub fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let dialect = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        if dialect != "postgres" && dialect != "postgresql" {
            return None;
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last @: SQLAlchemy takes a password that has a / or an @ of its own.
        let (login, place) = match place.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, place),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (some(user), some(password)),
            None => (None, None),
        };
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        let mut url = Self {
            user,
            password,
            hosts: Vec::new(),
            database: some(database),
            parameters: Vec::new(),
            fault: None,
        };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            url.add_host(host);
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            url.add_parameter(parameter);
        }
        Some(url)
    }

    fn add_host(&mut self, text: &str) {
        // An IPv6 address is in brackets, for its colons.
        let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let number = port.parse().ok();
        if number.is_none() && !port.is_empty() {
            self.fault = Some("its port is no number; in a password write / as %2F, ? as %3F and @ as %40");
            return;
        }
        self.hosts.push((decoded(host), number));
    }

    fn add_parameter(&mut self, text: &str) {
        let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| is_word(name)) else {
            self.fault = Some("behind its ? is no NAME=VALUE; in a password write ? as %3F");
            return;
        };
        let value = decoded(value);
        match name {
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" => self.database = Some(value),
            "port" => match value.parse() {
                Ok(port) => self.set_port(port),
                Err(_) => self.fault = Some("its port is no number"),
            },
            "host" => {
                let port = self.hosts.first().and_then(|(_, port)| *port);
                self.hosts.clear();
                for host in value.split(',') {
                    // SQLAlchemy writes ports here too.
                    if host.starts_with('/') {
                        self.hosts.push((host.to_owned(), port));
                    } else {
                        self.add_host(host);
                    }
                }
            }
            _ => self.parameters.push((name.to_owned(), value)),
        }
    }

    /// Which database it is, however one connects to it.
    pub fn place(&self) -> String {
        const DEFAULT_PORT: u16 = 5432;
        let host = |(host, port): &(String, Option<u16>)| format!("{host}:{}", port.unwrap_or(DEFAULT_PORT));
        let hosts: Vec<String> = self.hosts.iter().map(host).collect();
        let database = self.database.as_ref().or(self.user.as_ref());
        format!("postgres://{}/{}", hosts.join(","), database.map_or("", String::as_str))
    }

    fn set_port(&mut self, port: u16) {
        if self.hosts.is_empty() {
            self.hosts.push((String::new(), None));
        }
        self.hosts.iter_mut().for_each(|host| host.1 = Some(port));
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| decoded(text))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Without password and parameters.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        // What could not be taken apart may have the password anywhere.
        if self.fault.is_some() {
            return f.write_str("…");
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            f.write_str(host)?;
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.database.as_deref().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresUrl {
        PostgresUrl::of(text).unwrap()
    }

    #[test]
    fn every_spelling_of_agnos_documentation_names_the_same_database() {
        for scheme in [
            "postgres",
            "postgresql",
            "postgresql+psycopg",
            "postgresql+psycopg2",
            "postgresql+asyncpg",
            "postgresql+psycopg_async",
            "POSTGRESQL",
        ] {
            let url = url(&format!("{scheme}://ai:s3cret@db.example:5532/agno"));
            assert_eq!(url.to_string(), "postgres://ai@db.example:5532/agno", "{scheme}");
            assert_eq!(url.password.as_deref(), Some("s3cret"));
        }
        for path in
            ["agno.db", "postgres", "postgres:/a", "sqlite:///a.db", "/a/postgres://b", "postgresx://a"]
        {
            assert_eq!(PostgresUrl::of(path), None, "{path}");
        }
    }

    #[test]
    fn hosts_sockets_and_parameters_are_taken_apart() {
        let hosts = |text: &str| url(text).hosts;
        assert_eq!(hosts("postgres:///agno"), []);
        assert_eq!(hosts("postgres://[::1]:5433/agno"), [("::1".to_owned(), Some(5433))]);
        assert_eq!(hosts("postgres://a,b:1/agno"), [("a".to_owned(), None), ("b".to_owned(), Some(1))]);
        assert_eq!(hosts("postgres://%2Frun%2Fpg/agno"), [("/run/pg".to_owned(), None)]);
        assert_eq!(hosts("postgres:///agno?host=/run/pg&port=1"), [("/run/pg".to_owned(), Some(1))]);
        let url = url("postgres://h/a%20b?sslmode=require&user=u&password=p%26q&application_name=x");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("u"), Some("p&q")));
        assert_eq!(url.database.as_deref(), Some("a b"));
        let parameters = [("sslmode", "require"), ("application_name", "x")];
        assert_eq!(url.parameters, parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_database_is_the_same_whoever_connects_to_it_and_how() {
        for text in ["postgres://ai:s3cret@h/agno", "postgresql+psycopg://h:5432/agno?sslmode=require&user=b"]
        {
            assert_eq!(url(text).place(), "postgres://h:5432/agno");
        }
        assert_eq!(url("postgres://ai@a,b:1").place(), "postgres://a:5432,b:1/ai");
    }

    #[test]
    fn no_password_is_ever_shown() {
        for password in [
            "s3cret",
            "s3%40cret",
            "s3@cret",
            "s3/cret",
            "s3?cret",
            "s3:cret",
            "s3#cret",
            "s3?cr=et",
            "5?s3cret",
        ] {
            for text in [
                format!("postgres://ai:{password}@h/agno"),
                format!("postgres://h/agno?user=ai&password={password}"),
            ] {
                let url = url(&text);
                let shown = format!("{url} {url:?} {:?}", url.fault);
                assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
            }
        }
        assert_eq!(url("postgres://ai:s3?cret@h/agno").to_string(), "postgres://…");
    }
}
