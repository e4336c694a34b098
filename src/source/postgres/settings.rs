//! What a URL asks for, in tokio-postgres' words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode};

use super::super::url::PostgresUrl;
use super::passfile;
use super::tls::{Check, Roots, Tls};

/// How long a connection may take, unless the URL says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where a URL without a host looks for a socket.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const DEFAULT_PORT: u16 = 5432;
/// What may stand behind the `?`, beside what [`PostgresUrl`] takes for itself.
const PARAMETERS: &str = "sslmode, sslrootcert, ssl, channel_binding, connect_timeout, application_name, options, \
                          passfile, user, password, host, port, dbname";

/// How to connect.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) tls: Tls,
    pub(super) connect_timeout: Duration,
}

/// What the parameters say.
#[derive(Default)]
struct Said {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    channel_binding: Option<String>,
    connect_timeout: Option<String>,
    application_name: Option<String>,
    options: Option<String>,
    passfile: Option<String>,
}

impl Said {
    fn of(url: &PostgresUrl) -> Result<Self, String> {
        let mut said = Self::default();
        for (name, value) in &url.parameters {
            let place = match name.as_str() {
                // asyncpg's name, which takes libpq's words too.
                "sslmode" | "ssl" => &mut said.sslmode,
                "sslrootcert" => &mut said.sslrootcert,
                "channel_binding" => &mut said.channel_binding,
                "connect_timeout" => &mut said.connect_timeout,
                "application_name" => &mut said.application_name,
                "options" => &mut said.options,
                "passfile" => &mut said.passfile,
                _ => {
                    return Err(format!(
                        "its parameter {name} is not known; remove it (known are {PARAMETERS})"
                    ));
                }
            };
            *place = Some(value.clone());
        }
        Ok(said)
    }
}

impl Settings {
    /// `variable` is the environment.
    pub(super) fn of(url: &PostgresUrl, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(fault) = url.fault {
            return Err(fault.to_owned());
        }
        let said = Said::of(url)?;
        let hosts = hosts(url);
        let mut config = Config::new();
        config.application_name(said.application_name.as_deref().unwrap_or("agno-otel"));
        for (host, port) in &hosts {
            config.host(host).port(*port);
        }
        let user = url.user.clone().or_else(|| variable("USER")).unwrap_or_default();
        let database = url.database.clone().unwrap_or_else(|| user.clone());
        config.user(&user).dbname(&database);
        if let Some(options) = &said.options {
            config.options(options);
        }
        let named = url.password.clone().or_else(|| variable("PGPASSWORD").filter(|word| !word.is_empty()));
        let filed = || {
            let file = said.passfile.clone().or_else(|| variable("PGPASSFILE")).map(PathBuf::from);
            let file = file.or_else(|| home(variable, ".pgpass"))?;
            let (host, port) = hosts.first()?;
            passfile::password(&file, [host, &port.to_string(), &database, &user])
        };
        let password = named.or_else(filed);
        if let Some(password) = password {
            config.password(password);
        }
        let binding = said.channel_binding.as_deref().unwrap_or("prefer");
        config.channel_binding(match binding {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => return Err("its channel_binding is none of disable, prefer, require".to_owned()),
        });
        let (mode, tls) = tls(&said, home(variable, ".postgresql/root.crt").filter(|file| file.is_file()))?;
        // There is no TLS over a socket.
        let is_local = hosts.iter().all(|(host, _)| host.starts_with('/'));
        config.ssl_mode(if is_local { SslMode::Disable } else { mode });
        let connect_timeout = match said.connect_timeout.as_deref().map(str::parse) {
            None => CONNECT_TIMEOUT,
            // As libpq says "as long as it takes".
            Some(Ok(0)) => Duration::MAX,
            Some(Ok(seconds)) => Duration::from_secs(seconds),
            Some(Err(_)) => return Err("its connect_timeout is no number of seconds".to_owned()),
        };
        Ok(Self { config, tls, connect_timeout })
    }
}

fn home(variable: &dyn Fn(&str) -> Option<String>, below: &str) -> Option<PathBuf> {
    Some(Path::new(&variable("HOME")?).join(below))
}

fn hosts(url: &PostgresUrl) -> Vec<(String, u16)> {
    let hosts = if url.hosts.is_empty() { &[(String::new(), None)] } else { url.hosts.as_slice() };
    let named = |(host, port): &(String, Option<u16>)| {
        let port = port.unwrap_or(DEFAULT_PORT);
        let socket = |folder: &&&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
        let host = match host.as_str() {
            "" => (*SOCKET_FOLDERS.iter().find(socket).unwrap_or(&"localhost")).to_owned(),
            host => host.to_owned(),
        };
        (host, port)
    };
    hosts.iter().map(named).collect()
}

/// As libpq means `sslmode` and `sslrootcert`.
fn tls(said: &Said, usual_roots: Option<PathBuf>) -> Result<(SslMode, Tls), String> {
    let roots = match said.sslrootcert.as_deref() {
        Some("system") => Some(Roots::System),
        Some(file) => Some(Roots::File(file.into())),
        None => usual_roots.map(Roots::File),
    };
    let is_system = matches!(roots, Some(Roots::System));
    let mode = said.sslmode.as_deref().unwrap_or(if is_system { "verify-full" } else { "prefer" });
    let (ssl_mode, check) = match mode {
        "disable" | "false" => (SslMode::Disable, Check::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Check::Nothing),
        "require" | "true" => {
            (SslMode::Require, if roots.is_some() { Check::Authority } else { Check::Nothing })
        }
        "verify-ca" => (SslMode::Require, Check::Authority),
        "verify-full" => (SslMode::Require, Check::AuthorityAndName),
        _ => {
            let known = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(format!("its sslmode is none of {known}"));
        }
    };
    if is_system && check != Check::AuthorityAndName {
        return Err("sslrootcert=system is worth nothing without sslmode=verify-full".to_owned());
    }
    if check != Check::Nothing && roots.is_none() {
        return Err(format!(
            "sslmode={mode} needs sslrootcert=FILE with the authorities to trust, or sslmode=verify-full and \
             sslrootcert=system"
        ));
    }
    Ok((ssl_mode, Tls { check, roots }))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let variable = |name: &str| (name == "USER").then(|| "os-user".to_owned());
        Settings::of(&PostgresUrl::of(text).unwrap(), &variable)
    }

    fn fault(text: &str) -> String {
        settings(text).err().unwrap()
    }

    #[test]
    fn a_url_says_how_to_connect() {
        let found = settings("postgresql+psycopg://ai:p%40w@db:5532/agno?connect_timeout=3").unwrap();
        assert_eq!(found.config.get_hosts(), [Host::Tcp("db".to_owned())]);
        assert_eq!((found.config.get_ports(), found.config.get_dbname()), ([5532].as_slice(), Some("agno")));
        assert_eq!(found.config.get_password(), Some("p@w".as_bytes()));
        assert_eq!(found.connect_timeout, Duration::from_secs(3));
        let found = settings("postgres://db").unwrap();
        assert_eq!(found.config.get_user(), Some("os-user"));
        assert_eq!(
            (found.config.get_ports(), found.config.get_dbname()),
            ([5432].as_slice(), Some("os-user"))
        );
        assert_eq!(found.connect_timeout, CONNECT_TIMEOUT);
    }

    #[test]
    fn the_password_of_the_environment_is_taken_where_the_url_has_none() {
        let variable = |name: &str| (name == "PGPASSWORD").then(|| "from-env".to_owned());
        let password = |text: &str| {
            let found = Settings::of(&PostgresUrl::of(text).unwrap(), &variable).unwrap();
            found.config.get_password().map(<[u8]>::to_vec)
        };
        assert_eq!(password("postgres://ai@db/agno").unwrap(), b"from-env");
        assert_eq!(password("postgres://ai:own@db/agno").unwrap(), b"own");
    }

    #[test]
    fn sslmode_means_what_libpq_means() {
        let found = |query: &str| {
            let found = settings(&format!("postgres://db/agno?{query}")).unwrap();
            (found.config.get_ssl_mode(), found.tls.check)
        };
        assert_eq!(found(""), (SslMode::Prefer, Check::Nothing));
        assert_eq!(found("sslmode=disable"), (SslMode::Disable, Check::Nothing));
        assert_eq!(found("sslmode=require"), (SslMode::Require, Check::Nothing));
        assert_eq!(found("ssl=true"), (SslMode::Require, Check::Nothing));
        assert_eq!(found("sslmode=require&sslrootcert=a.pem"), (SslMode::Require, Check::Authority));
        assert_eq!(found("sslmode=verify-ca&sslrootcert=a.pem"), (SslMode::Require, Check::Authority));
        assert_eq!(
            found("sslmode=verify-full&sslrootcert=a.pem"),
            (SslMode::Require, Check::AuthorityAndName)
        );
        assert_eq!(found("sslrootcert=system"), (SslMode::Require, Check::AuthorityAndName));
        assert_eq!(found("host=/tmp&sslmode=require"), (SslMode::Disable, Check::Nothing));
        for (query, word) in [
            ("sslmode=verify-full", "sslrootcert=FILE"),
            ("sslmode=verify-ca&sslrootcert=system", "verify-full"),
            ("sslmode=always", "verify-ca, verify-full"),
        ] {
            let fault = fault(&format!("postgres://db/agno?{query}"));
            assert!(fault.contains(word), "{query}: {fault}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_and_never_passed_over() {
        let unknown = fault("postgres://ai:s3cret@db/agno?prepared_statement_cache_size=0");
        assert!(
            unknown.contains("prepared_statement_cache_size") && unknown.contains("sslmode"),
            "{unknown}"
        );
        assert!(fault("postgres://db:x/agno").contains("port is no number"));
        assert!(fault("postgres://db/agno?connect_timeout=soon").contains("seconds"));
    }
}
