//! Where the data is: the URL, the prefix, the timeouts.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use url::Url;

use mneme_store::parameters::Parameters;
use mneme_store::{Result, StoreError};

/// The parameters that a URL may have.
const KNOWN: [&str; 4] = ["prefix", "cafile", "connect_timeout_ms", "call_timeout_ms"];

/// Keys of a cache are made of its prefix and one of these and any namespace, so no
/// other prefix may look like them.
const FAMILIES: [&str; 4] = ["entry", "hash", "lru", "quota"];

/// What a store needs to connect.
#[derive(Clone)]
pub(super) struct Options {
    pub address: ConnectionAddr,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: i64,
    pub prefix: String,
    pub cafile: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub call_timeout: Duration,
}

/// Without the password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.place())
            .field("cafile", &self.cafile)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Reads a URL. No error repeats any of it, as a password may be in the wrong place.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|error| {
            invalid(format!(
                "the URL of the Redis store is malformed: {error}; write redis://[user:password@]host[:port][/db], with %XX for special characters in user and password"
            ))
        })?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err(invalid(
                "the URL of a Redis store begins with redis:// or, for TLS, with rediss://",
            ));
        }
        if url.fragment().is_some() {
            return Err(invalid(
                "the URL of a Redis store has no part after #; write %23 for a # in user or password",
            ));
        }
        if url.password().is_none() && !url.username().is_empty() {
            return Err(invalid(
                "the URL of the Redis store has a user and no password; write user:password@host, or :password@host",
            ));
        }
        let mut bare = url.clone();
        bare.set_query(None);
        let info = bare.into_connection_info().map_err(|error| {
            let what = error.category();
            invalid(format!(
                "the URL of the Redis store names no host, port and database to connect to ({what}); write redis://[user:password@]host[:port][/db], with a number for the database and %XX for special characters in user and password"
            ))
        })?;
        let mut options = Self::new(&info)?;
        let mut given = Parameters::read("the Redis store", url.query_pairs(), &KNOWN, false)?;
        options.prefix = given.take("prefix").unwrap_or(options.prefix);
        options.cafile = given.take("cafile").map(PathBuf::from);
        if options.cafile.is_some() && url.scheme() != "rediss" {
            return Err(invalid(
                "the parameter cafile of a Redis store is for TLS; write rediss:// in place of redis://",
            ));
        }
        options.connect_timeout =
            given.milliseconds("connect_timeout_ms", options.connect_timeout)?;
        options.call_timeout = given.milliseconds("call_timeout_ms", options.call_timeout)?;
        check_prefix(&options.prefix)?;
        Ok(options)
    }

    fn new(info: &ConnectionInfo) -> Result<Self> {
        let settings = info.redis_settings();
        if settings.db() < 0 {
            return Err(invalid("the database of a Redis store is a number from 0"));
        }
        Ok(Self {
            address: info.addr().clone(),
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: settings.db(),
            prefix: "mneme".to_owned(),
            cafile: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
        })
    }

    /// The same, with no timeout longer than this.
    pub fn within(mut self, patience: Duration) -> Self {
        self.connect_timeout = self.connect_timeout.min(patience);
        self.call_timeout = self.call_timeout.min(patience);
        self
    }

    /// Where the data is, for messages.
    pub fn place(&self) -> String {
        format!(
            "{}/{}, prefix {:?}",
            self.address, self.database, self.prefix
        )
    }
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::InvalidArgument(message.into())
}

/// Refuses prefixes under which two caches would share keys.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() {
        return Err(invalid(
            "the prefix of a Redis store is empty; give one, such as mneme",
        ));
    }
    let mut parts = prefix.split(':').skip(1);
    if let Some(family) = parts.find(|part| FAMILIES.contains(part)) {
        return Err(invalid(format!(
            "the prefix {prefix:?} of a Redis store has the part \":{family}\", and its keys could be those of the cache whose prefix is what stands before; give another prefix"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(url: &str) -> String {
        match Options::parse(url) {
            Err(StoreError::InvalidArgument(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_url_says_where() {
        let options = Options::parse("redis://localhost").unwrap();
        assert_eq!(
            options.address,
            ConnectionAddr::Tcp("localhost".into(), 6379)
        );
        assert_eq!((options.database, &*options.prefix), (0, "mneme"));
        assert_eq!((options.user, options.password), (None, None));
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.call_timeout, Duration::from_secs(10));

        let url = "redis://us%40er:p%2Fss%3A%C3%BC@[::1]:7000/3?prefix=%7Ba%7D%3Ab&connect_timeout_ms=7&call_timeout_ms=8";
        let options = Options::parse(url).unwrap();
        assert_eq!(options.address, ConnectionAddr::Tcp("::1".into(), 7000));
        assert_eq!((options.database, &*options.prefix), (3, "{a}:b"));
        assert_eq!(options.user.as_deref(), Some("us@er"));
        assert_eq!(options.password.as_deref(), Some("p/ss:ü"));
        assert_eq!(options.connect_timeout, Duration::from_millis(7));
        assert_eq!(options.call_timeout, Duration::from_millis(8));

        let options = Options::parse("rediss://:secret@h/?cafile=/a%20b.pem").unwrap();
        assert!(matches!(
            options.address,
            ConnectionAddr::TcpTls {
                insecure: false,
                ..
            }
        ));
        assert_eq!(options.cafile, Some("/a b.pem".into()));
        assert_eq!(
            (options.user, options.password.as_deref()),
            (None, Some("secret"))
        );
    }

    #[test]
    fn no_error_repeats_the_password() {
        let refused = [
            ("redis://u:secret@h:port", "malformed"),
            ("redis://u:secret@h:70000", "malformed"),
            ("redis://u:sec/secret@h", "malformed"),
            ("redis://:secret@", "malformed"),
            ("mysql://u:secret@h", "begins with redis://"),
            ("redis://u:secret@h/x", "a number for the database"),
            ("redis://u:secret@h/-1", "a number from 0"),
            ("redis://u:secret@0.0.0.0", "names no host"),
            ("redis://u:secret@h/0#insecure", "after #"),
            ("redis://secret@h", "no password"),
            (
                "redis://u:secret@h?secret=1",
                "prefix, cafile, connect_timeout_ms, call_timeout_ms",
            ),
            ("redis://u:secret@h?cafile=x", "rediss://"),
            ("redis://u:secret@h?prefix=a&prefix=secret", "prefix twice"),
            (
                "redis://u:secret@h?prefix=",
                "prefix of a Redis store is empty",
            ),
            ("redis://u:secret@h?call_timeout_ms=0", "from 1"),
            ("redis://u:secret@h?connect_timeout_ms=1s", "from 1"),
            ("secret", "malformed"),
            ("", "malformed"),
        ];
        for (url, expected) in refused {
            let text = refusal(url);
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let options = Options::parse("redis://u:secret@h:1/2?prefix=a").unwrap();
        let shown = format!("{options:?}");
        assert!(
            shown.contains("h:1/2, prefix \\\"a\\\"") && !shown.contains("secret"),
            "{shown}"
        );
    }

    /// The keys of a cache, in the namespace `n`.
    fn keys(prefix: &str, n: &str) -> Vec<String> {
        let fixed = [
            "meta",
            "by_id",
            "by_ttl",
            "version",
            "next_id",
            "namespaces",
            "expiring",
            "by_tag",
            "tagged",
            "changes",
            "blobs",
            "incarnation",
        ];
        let fixed = fixed.iter().map(|key| format!("{prefix}:{key}"));
        let families = FAMILIES
            .iter()
            .map(|family| format!("{prefix}:{family}:{n}"));
        fixed.chain(families).collect()
    }

    proptest! {
        #[test]
        fn no_two_accepted_prefixes_share_a_key(
            one in "(a|:|entry|lru|quota|hash|meta){1,5}",
            more in "(a|:|entry|lru|quota|hash|meta){1,5}",
            n in "(a|:|entry|lru|quota|meta|version){0,4}",
        ) {
            let two = format!("{one}{more}");
            if check_prefix(&one).is_ok() && check_prefix(&two).is_ok() {
                let inner = two.strip_prefix(&one).unwrap();
                // The namespace that would reach furthest into the other's keys.
                let names = [n.clone(), inner.trim_start_matches(':').to_owned()];
                for name in names {
                    for key in keys(&two, &n) {
                        prop_assert!(!keys(&one, &name).contains(&key), "{one:?} {two:?} {key:?}");
                        let owned = FAMILIES.iter().any(|f| key.starts_with(&format!("{one}:{f}:")));
                        prop_assert!(!owned, "{one:?} owns {key:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn prefixes_that_reach_into_others_are_refused() {
        for good in [
            "mneme",
            "a:b",
            "{tag}",
            "{a}:b",
            "entry",
            "a:entries",
            "a\"'\\",
            "a\0b",
            "ü|",
            " ",
            "a:meta",
            ":",
        ] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "a:entry",
            "a:lru:b",
            "a:b:quota",
            ":hash",
            "mneme:quota:x:y",
        ] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
