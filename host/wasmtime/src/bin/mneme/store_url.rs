//! `--store URL`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use mneme::store::{MemoryStore, Store};

/// A store that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`
    Sqlite(PathBuf),
}

const KNOWN: &str = "memory:, sqlite:PATH";

impl StoreUrl {
    /// The store of the option, else of $MNEME_STORE, else `sqlite:mneme.db`.
    pub fn choose(option: Option<&str>) -> Result<Self> {
        match Self::named(option) {
            Some(url) => Self::parse(&url),
            None => Ok(Self::Sqlite("mneme.db".into())),
        }
    }

    /// The URL of the option, else of $MNEME_STORE, if there is one.
    pub fn named(option: Option<&str>) -> Option<String> {
        option.map(str::to_owned).or_else(|| {
            let url = std::env::var("MNEME_STORE").ok();
            url.filter(|url| !url.is_empty())
        })
    }

    /// Reads a URL. `sqlite:PATH` and `sqlite://PATH` are the same.
    pub fn parse(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once(':') else {
            bail!("--store {url:?} has no scheme; for a file write sqlite:{url} (known: {KNOWN})");
        };
        match scheme {
            "memory" if rest.is_empty() || rest == "//" => Ok(Self::Memory),
            "memory" => {
                bail!("--store {url:?}: memory: takes no path; write memory: or sqlite:{rest}")
            }
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    bail!(
                        "--store {url:?} names no file; write sqlite:PATH, such as sqlite:mneme.db"
                    );
                }
                Ok(Self::Sqlite(path.into()))
            }
            // What follows the scheme may hold a password.
            _ => bail!("--store: the scheme {scheme:?} is not known; known are {KNOWN}"),
        }
    }

    /// The store, not opened yet.
    pub fn store(&self) -> Result<Box<dyn Store>> {
        match self {
            Self::Memory => Ok(Box::new(MemoryStore::new())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => Ok(Box::new(mneme::store::SqliteStore::new(path))),
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => {
                bail!("--store: this build has no sqlite; build it with --features sqlite")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let sqlite = |path: &str| StoreUrl::Sqlite(path.into());
        let good = [
            ("memory:", StoreUrl::Memory),
            ("memory://", StoreUrl::Memory),
            ("sqlite:a.db", sqlite("a.db")),
            ("sqlite:/tmp/a b.db", sqlite("/tmp/a b.db")),
            ("sqlite:///tmp/a.db", sqlite("/tmp/a.db")),
            ("sqlite:../a:b.db", sqlite("../a:b.db")),
        ];
        for (url, expected) in good {
            assert_eq!(StoreUrl::parse(url).unwrap(), expected, "{url}");
        }
        let bad = [
            ("mneme.db", "write sqlite:mneme.db"),
            ("sqlite:", "names no file"),
            ("memory:x", "takes no path"),
            ("mysql://u:secret@h/db", "known are memory:, sqlite:PATH"),
            ("", "no scheme"),
        ];
        for (url, expected) in bad {
            let message = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(
                message.contains(expected) && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
