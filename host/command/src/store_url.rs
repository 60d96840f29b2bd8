//! `--store URL`.

use std::fmt;
use std::path::Path;

use anyhow::{Result, anyhow};
use mneme::store::{self, Access, Store};

/// A store that a URL names.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    url: String,
    /// The option or the variable that gave it.
    given_by: &'static str,
}

/// Without secrets, like everything that is shown of it.
impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl StoreUrl {
    /// The store of the option, else of $MNEME_STORE, else `sqlite:mneme.db`.
    pub fn choose(option: Option<&str>) -> Self {
        Self::named(option).unwrap_or_else(|| Self::new("sqlite:mneme.db"))
    }

    /// The store of the option, else of $MNEME_STORE, if either names one.
    pub fn named(option: Option<&str>) -> Option<Self> {
        Self::of(option, "--store", "MNEME_STORE")
    }

    /// The store of the option, else of $MNEME_TARGET, if either names one.
    pub fn target(option: Option<&str>) -> Option<Self> {
        Self::of(option, "--to", "MNEME_TARGET")
    }

    fn of(option: Option<&str>, name: &'static str, variable: &'static str) -> Option<Self> {
        let given = |url: String, given_by| Self { url, given_by };
        let of_variable = || {
            let url = std::env::var(variable).ok().filter(|url| !url.is_empty())?;
            Some(given(url, variable))
        };
        let of_option = option.map(|url| given(url.to_owned(), name));
        of_option.or_else(of_variable)
    }

    /// The store with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            given_by: "--store",
        }
    }

    /// The URL itself, which may hold a password.
    pub fn secret(&self) -> &str {
        &self.url
    }

    /// The file of a SQLite store.
    pub fn file(&self) -> Option<&Path> {
        let path = self.url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        Some(Path::new(
            path.split_once('?').map_or(path, |(path, _)| path),
        ))
    }

    /// Where the entries are, in any working directory: an absolute path, or the kind of server.
    pub fn lasting_name(&self) -> String {
        let path = self.file().and_then(|path| path.canonicalize().ok());
        path.map_or_else(|| self.to_string(), |path| path.display().to_string())
    }

    /// Whether both certainly name the same store.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.file(), other.file()) {
            (Some(a), Some(b)) => match (a.canonicalize(), b.canonicalize()) {
                (Ok(a), Ok(b)) => a == b,
                _ => a == b,
            },
            // Each `memory:` is a new store.
            _ => self.url == other.url && !self.url.starts_with("memory:"),
        }
    }

    /// Makes more handles of the same store, if what is open can be opened again. Opening them creates
    /// nothing.
    pub fn handles(&self) -> Option<impl Fn() -> mneme::Result<Box<dyn Store>> + use<>> {
        // Each `memory:` is a new store.
        let url = (!self.url.starts_with("memory:")).then(|| self.url.clone())?;
        Some(move || {
            Ok(store::from_url_built_with(
                &url,
                Access::Existing,
                brought_by,
            )?)
        })
    }

    /// The store, not opened yet. Opening creates the cache if there is none.
    pub fn store(&self) -> Result<Box<dyn Store>> {
        self.store_for(Access::Create)
    }

    /// The store, not opened yet.
    pub fn store_for(&self, access: Access) -> Result<Box<dyn Store>> {
        store::from_url_built_with(&self.url, access, brought_by)
            .map_err(|error| anyhow!("{}: {}", self.given_by, mneme::Error::from(error)))
    }
}

/// What to build this command with for a store that it lacks.
fn brought_by(_feature: &str) -> String {
    "--features servers".into()
}

/// Where the entries are, without secrets: a path, or the kind of server.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file(), store::scheme_of(&self.url)) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(scheme)) => f.write_str(scheme),
            (None, None) => f.write_str("a store without a scheme"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_store() {
        let same = |a: &str, b: &str| StoreUrl::new(a).is_same(&StoreUrl::new(b));
        assert!(same("sqlite:x.db", "sqlite://x.db") && same("redis://h", "redis://h"));
        assert!(same("sqlite:x.db?mode=ro", "sqlite:x.db"));
        assert!(same("sqlite:.", "sqlite:./."));
        assert!(!same("sqlite:x.db", "sqlite:y.db") && !same("redis://h/1", "redis://h"));
        assert!(!same("memory:", "memory:"));
    }

    #[test]
    fn a_store_that_this_build_lacks_is_said_with_the_feature_that_brings_it() {
        let message = |url: &str| StoreUrl::new(url).store().err().map(|e| e.to_string());
        let servers = [
            ("redis", "redis://localhost"),
            ("postgres", "postgres://u@localhost/db"),
            ("dynamodb", "dynamodb://t"),
        ];
        // Built together with the tests of other packages, it may have them anyway.
        let built_in = store::built_in();
        for (name, url) in servers {
            let expected = format!(
                "--store: this build has no {name} store; build it with --features servers"
            );
            let is_built_in = built_in.contains(&name);
            assert!(is_built_in || !cfg!(feature = "servers"), "{name}");
            assert_eq!(message(url) == Some(expected), !is_built_in, "{name}");
        }
        let unknown = message("mysql://h").unwrap();
        let says = unknown.contains("redis://HOST (build it with --features servers)");
        assert_eq!(says, !built_in.contains(&"redis"), "{unknown}");
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let shown = [
            ("memory:", "memory"),
            ("sqlite:a b.db", "a b.db"),
            ("sqlite:///tmp/a.db", "/tmp/a.db"),
            ("sqlite:a.db?mode=ro", "a.db"),
            ("redis://u:p@ss@h:1/2?prefix=x", "redis"),
            ("user=u password=secret host=h", "a store without a scheme"),
            ("user=u password=a:secret", "a store without a scheme"),
        ];
        for (url, text) in shown {
            assert_eq!(StoreUrl::new(url).to_string(), text);
        }
        let error = StoreUrl::new("mysql://u:secret@h").store().err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
        let error = StoreUrl::new("user=u password=secret host=h").store();
        let error = error.err().unwrap().to_string();
        assert!(
            !error.contains("secret") && error.contains("no scheme"),
            "{error}"
        );
        let target = StoreUrl::target(Some("user=u password=secret")).unwrap();
        let error = target.store().err().unwrap().to_string();
        assert!(
            error.starts_with("--to: the store has no scheme"),
            "{error}"
        );
        let derived = format!("{:?}", StoreUrl::new("redis://u:secret@h"));
        assert_eq!(derived, "StoreUrl(redis)");
    }
}
