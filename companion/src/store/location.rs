//! Where state is kept, as people say it: a file, or the URL of a PostgreSQL, whose password is shown to nobody.

use std::{fmt, path::PathBuf, str::FromStr};

use reqwest::Url;
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// A file for the embedded database, or a PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Location {
    /// The embedded database.
    File(PathBuf),
    /// A database that several companions may share.
    Postgres(PostgresUrl),
}

/// A URL like `postgres://quiesce:password@db.example.com/quiesce`. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: Url,
}

/// Why a text does not say where state is kept. It does not repeat the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It begins like a URL and is none of PostgreSQL.
    #[error("is no URL of PostgreSQL: {0}; write it like postgres://quiesce@db.example.com/quiesce")]
    Url(String),
    /// It begins with the scheme of another database.
    #[error("`{0}` databases are not supported: give the path of a file, or a postgres:// URL")]
    Scheme(String),
}

impl PostgresUrl {
    /// How to connect to it; what it does not say, the environment of PostgreSQL's own programs does (`PGPASSWORD`,
    /// `PGSSLROOTCERT`, `~/.pgpass`).
    pub fn options(&self) -> Result<PgConnectOptions, LocationError> {
        self.url.as_str().parse().map_err(|error: sqlx::Error| LocationError::Url(error.to_string()))
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let Some((scheme, _)) = text.split_once("://") else { return Ok(Self::File(text.into())) };
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(LocationError::Scheme(scheme.to_owned()));
        }
        let url = Url::parse(text).map_err(|error| LocationError::Url(error.to_string()))?;
        let url = PostgresUrl { url };
        url.options()?;
        Ok(Self::Postgres(url))
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        // Neither fails for a URL with a host; one without has no password there either.
        let _ = shown.set_password(None);
        if shown.query().is_some() {
            let kept: Vec<_> = self.url.query_pairs().filter(|(name, _)| name != "password").collect();
            shown.query_pairs_mut().clear().extend_pairs(kept);
        }
        f.write_str(shown.as_str().trim_end_matches('?'))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_the_password() {
        for (text, shown) in [
            ("quiesce.db", "quiesce.db"),
            ("postgres://ann:secret@db.example.com/quiesce", "postgres://ann@db.example.com/quiesce"),
            ("postgresql:///quiesce?host=/run/pg&password=secret", "postgresql:///quiesce?host=%2Frun%2Fpg"),
            ("postgres://db/quiesce?password=secret", "postgres://db/quiesce"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_is_neither_a_path_nor_postgres_is_refused_and_not_repeated() {
        let scheme = "mysql://ann:secret@db/x".parse::<Location>().unwrap_err();
        assert_eq!(scheme, LocationError::Scheme("mysql".to_owned()));
        let port = "postgres://ann:secret@db:port/x".parse::<Location>().unwrap_err().to_string();
        assert!(port.contains("invalid port") && !port.contains("secret"), "{port}");
    }
}
