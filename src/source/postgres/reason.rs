//! Why a database could not be read, in words that help. The server's own hold no password.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::choice::quoted;
use super::Name;

/// As text. With an I/O error as its cause, a connection that broke would pass for a closed standard output.
pub(super) fn reason(error: &Error, user: &str, table: &Name) -> String {
    let words = match error.as_db_error() {
        Some(error) => error.to_string(),
        None => crate::error::Chain(error).to_string(),
    };
    let advice = match error.code() {
        Some(code) => of_code(code, user, table),
        None => of_words(&words).to_owned(),
    };
    format!("{words}{advice}")
}

/// True if no TLS came about.
pub(super) fn is_of_tls(error: &Error) -> bool {
    error.to_string().contains("TLS")
}

fn of_code(code: &SqlState, user: &str, table: &Name) -> String {
    match *code {
        SqlState::INVALID_PASSWORD => {
            "; the password comes from the URL, PGPASSWORD or ~/.pgpass, in a URL with %40 for @".to_owned()
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "; the server's pg_hba.conf decides who may connect, from where, and whether with TLS (sslmode=require)"
                .to_owned()
        }
        SqlState::INVALID_CATALOG_NAME => "; the database is what follows HOST:PORT/ in the URL".to_owned(),
        SqlState::INSUFFICIENT_PRIVILEGE if !table.schema.is_empty() => {
            let (schema, user) = (&table.schema, quoted(user));
            format!(
                "; its owner can say GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {table} TO {user}; or \
                 name other tables with --sessions-table and --runs-table"
            )
        }
        SqlState::TOO_MANY_CONNECTIONS => "; one is needed".to_owned(),
        _ => String::new(),
    }
}

fn of_words(words: &str) -> &'static str {
    const ADVICE: [(&str, &str); 11] = [
        ("Connection refused", "; nobody listens there: are host and port right, is Postgres running?"),
        ("No such file or directory", "; no server listens on a socket there"),
        ("failed to lookup", "; there is no such host"),
        ("password missing", "; it can be in the URL, in PGPASSWORD or in ~/.pgpass"),
        ("does not support TLS", "; sslmode=disable goes without"),
        ("UnknownIssuer", "; name its authority with sslrootcert=FILE"),
        ("CaUsedAsEndEntity", "; name this certificate itself with sslrootcert=FILE"),
        ("not valid for name", "; use the name the certificate was made for, or sslmode=verify-ca"),
        ("error parsing response", "; is this Postgres?"),
        ("unexpected message", "; is this Postgres?"),
        ("connection closed", "; the server ended it: is it shutting down, is this Postgres?"),
    ];
    ADVICE.iter().find(|(cause, _)| words.contains(cause)).map_or("", |(_, advice)| advice)
}
