//! Where the data is: the URL, the prefix, the timeouts.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};
use url::Url;

use mneme_store::parameters::Parameters;
use mneme_store::{Result, StoreError};

/// The parameters that every URL may have.
const KNOWN: [&str; 6] = [
    "prefix",
    "cafile",
    "certfile",
    "keyfile",
    "connect_timeout_ms",
    "call_timeout_ms",
];

/// Those that a URL of sentinels may have besides.
const OF_SENTINELS: [&str; 3] = ["master", "sentinel_user", "sentinel_password"];

/// Keys of a cache are made of its prefix and one of these and any namespace, so no
/// other prefix may look like them.
const FAMILIES: [&str; 4] = ["entry", "hash", "lru", "quota"];

/// The port of a server.
const PORT: u16 = 6379;
/// The port of a sentinel.
pub(super) const SENTINEL_PORT: u16 = 26379;

/// A server's name and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub name: String,
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// The server that has the data, or those who know which one it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Servers {
    One(Host),
    /// Nodes of a cluster, any of them.
    Cluster(Vec<Host>),
    Sentinels(Sentinels),
}

/// The sentinels that watch a master.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sentinels {
    pub hosts: Vec<Host>,
    /// What they call the master.
    pub master: String,
    pub user: Option<String>,
    pub password: Option<String>,
}

/// What a store needs to connect.
#[derive(Clone)]
pub(super) struct Options {
    pub servers: Servers,
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: i64,
    /// As it was given; see [`Options::keys`].
    pub prefix: String,
    pub cafile: Option<PathBuf>,
    /// The files of the client's certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub connect_timeout: Duration,
    pub call_timeout: Duration,
}

/// Without the passwords.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.place())
            .field("cafile", &self.cafile)
            .field("identity", &self.identity)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

/// Who is named in a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Cluster,
    Sentinels,
}

impl Options {
    /// Reads a URL. No error repeats any of it, as a password may be in the wrong place.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = |error: &dyn fmt::Display| {
            invalid(format!(
                "the URL of the Redis store is malformed: {error}; write redis://[user:password@]host[:port][/db], with %XX for special characters in user and password"
            ))
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| malformed(&"it has no ://"))?;
        let (kind, tls) = kind(scheme)?;
        let base = if tls { "rediss" } else { "redis" };
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, hosts) = authority.split_at(at);
        if kind == Kind::One && hosts.contains(',') {
            return Err(invalid(
                "the URL of the Redis store names several hosts; write redis+cluster:// for the nodes of a cluster, or redis+sentinel:// for sentinels",
            ));
        }
        let urls = hosts
            .split(',')
            .map(|host| Url::parse(&format!("{base}://{user}{host}{tail}")))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| malformed(&error))?;
        // All but the host is the same in each.
        let url = &urls[0];
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
        let known = match kind {
            Kind::Sentinels => [&KNOWN[..], &OF_SENTINELS].concat(),
            _ => KNOWN.to_vec(),
        };
        let mut given = Parameters::read("the Redis store", url.query_pairs(), &known, false)?;
        let port = match kind {
            Kind::Sentinels => SENTINEL_PORT,
            _ => PORT,
        };
        let infos = urls.iter().map(|url| info(url, port));
        let infos = infos.collect::<Result<Vec<_>>>()?;
        let hosts: Vec<Host> = infos.iter().map(|(host, _)| host.clone()).collect();
        let settings = infos[0].1.redis_settings();
        if settings.db() < 0 {
            return Err(invalid("the database of a Redis store is a number from 0"));
        }
        if kind == Kind::Cluster && settings.db() != 0 {
            return Err(invalid(
                "a Redis cluster has the database 0 only; leave the database out of the URL",
            ));
        }
        let servers = match kind {
            Kind::One => Servers::One(hosts[0].clone()),
            Kind::Cluster => Servers::Cluster(hosts),
            Kind::Sentinels => Servers::Sentinels(sentinels(hosts, &mut given)?),
        };
        let cafile = given.take("cafile").map(PathBuf::from);
        let identity = match (given.take("certfile"), given.take("keyfile")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => {
                return Err(invalid(
                    "the URL of the Redis store has one of certfile and keyfile; give both, the client's certificate and its key",
                ));
            }
        };
        if (cafile.is_some() || identity.is_some()) && !tls {
            return Err(invalid(
                "the parameters cafile, certfile and keyfile of a Redis store are for TLS; write rediss in place of redis",
            ));
        }
        let options = Self {
            servers,
            tls,
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: settings.db(),
            prefix: given.take("prefix").unwrap_or_else(|| "mneme".to_owned()),
            cafile,
            identity,
            connect_timeout: given.milliseconds("connect_timeout_ms", Duration::from_secs(5))?,
            call_timeout: given.milliseconds("call_timeout_ms", Duration::from_secs(10))?,
        };
        options.check_prefix()?;
        Ok(options)
    }

    /// The same, with no timeout longer than this.
    pub fn within(mut self, patience: Duration) -> Self {
        self.connect_timeout = self.connect_timeout.min(patience);
        self.call_timeout = self.call_timeout.min(patience);
        self
    }

    /// What all keys begin with: the prefix, in a cluster in braces where it has no hash tag, so
    /// that all keys are in one slot.
    pub fn keys(&self) -> Cow<'_, str> {
        match &self.servers {
            Servers::Cluster(_) if !has_tag(&self.prefix) => format!("{{{}}}", self.prefix).into(),
            _ => (&*self.prefix).into(),
        }
    }

    /// The key that every script is given, and that says which node of a cluster has them all.
    pub fn by_id(&self) -> String {
        format!("{}:by_id", self.keys())
    }

    /// Refuses prefixes under which two caches would share keys, and in a cluster one whose keys
    /// would be in many slots.
    pub fn check_prefix(&self) -> Result<()> {
        check_prefix(&self.prefix)?;
        match has_tag(&self.keys()) || !matches!(self.servers, Servers::Cluster(_)) {
            true => Ok(()),
            false => Err(invalid(format!(
                "the prefix {:?} of a Redis store begins with a brace that ends no hash tag, and its keys would be on many nodes of the cluster; give another prefix",
                self.prefix
            ))),
        }
    }

    /// Where the data is, for messages.
    pub fn place(&self) -> String {
        let database = self.database;
        let who = match &self.servers {
            Servers::One(host) => format!("{host}/{database}"),
            Servers::Cluster(hosts) => format!("cluster {}", listed(hosts)),
            Servers::Sentinels(sentinels) => format!(
                "{:?}/{database} of sentinels {}",
                sentinels.master,
                listed(&sentinels.hosts)
            ),
        };
        format!("{who}, prefix {:?}", self.keys())
    }
}

/// Who is named by a URL of this scheme, and whether through TLS.
fn kind(scheme: &str) -> Result<(Kind, bool)> {
    Ok(match &*scheme.to_ascii_lowercase() {
        "redis" => (Kind::One, false),
        "rediss" => (Kind::One, true),
        "redis+cluster" => (Kind::Cluster, false),
        "rediss+cluster" => (Kind::Cluster, true),
        "redis+sentinel" => (Kind::Sentinels, false),
        "rediss+sentinel" => (Kind::Sentinels, true),
        _ => {
            return Err(invalid(
                "the URL of a Redis store begins with redis://, redis+cluster:// or redis+sentinel://, or, for TLS, with rediss in place of redis",
            ));
        }
    })
}

/// What a URL of one host says, and that host.
fn info(url: &Url, port: u16) -> Result<(Host, redis::ConnectionInfo)> {
    let names_none = |what: &str| {
        invalid(format!(
            "the URL of the Redis store names no host, port and database to connect to ({what}); write redis://[user:password@]host[:port][/db], with a number for the database and %XX for special characters in user and password"
        ))
    };
    let mut bare = url.clone();
    bare.set_query(None);
    let info = bare
        .into_connection_info()
        .map_err(|error| names_none(error.category()))?;
    let name = match info.addr() {
        ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. } => name.clone(),
        _ => return Err(names_none("no host")),
    };
    let host = Host {
        name,
        port: url.port().unwrap_or(port),
    };
    Ok((host, info))
}

fn sentinels(hosts: Vec<Host>, given: &mut Parameters) -> Result<Sentinels> {
    let sentinels = Sentinels {
        hosts,
        master: given
            .take("master")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                invalid(
                    "the URL of the Redis store names sentinels and no master; give master, the name in their configuration, such as mymaster",
                )
            })?,
        user: given.take("sentinel_user"),
        password: given.take("sentinel_password"),
    };
    match sentinels.user.is_some() && sentinels.password.is_none() {
        true => Err(invalid(
            "the URL of the Redis store has sentinel_user and no sentinel_password; give both, or the password alone",
        )),
        false => Ok(sentinels),
    }
}

fn listed(hosts: &[Host]) -> String {
    let names: Vec<_> = hosts.iter().map(Host::to_string).collect();
    names.join(",")
}

/// Whether Redis takes a part of the keys with this prefix, and not all of each, to find their
/// slot: what stands between the first brace and the next that ends it.
fn has_tag(prefix: &str) -> bool {
    prefix
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty())
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::InvalidArgument(message.into())
}

/// Refuses prefixes under which two caches would share keys.
fn check_prefix(prefix: &str) -> Result<()> {
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

    fn host(name: &str, port: u16) -> Host {
        Host {
            name: name.to_owned(),
            port,
        }
    }

    fn one(name: &str, port: u16) -> Servers {
        Servers::One(host(name, port))
    }

    #[test]
    fn a_url_names_nodes_or_sentinels() {
        let url = "redis+cluster://u:p@a,b:7000,[::1]:7001?prefix=p";
        let options = Options::parse(url).unwrap();
        let nodes = vec![host("a", 6379), host("b", 7000), host("::1", 7001)];
        assert!(options.servers == Servers::Cluster(nodes) && !options.tls);
        assert_eq!(options.user.as_deref(), Some("u"));
        assert_eq!(
            options.place(),
            "cluster a:6379,b:7000,[::1]:7001, prefix \"{p}\""
        );

        let url = "rediss+sentinel://:p@a,b:7000/3?master=m%20m&sentinel_user=s&sentinel_password=secret&certfile=c&keyfile=k";
        let options = Options::parse(url).unwrap();
        let sentinels = Sentinels {
            hosts: vec![host("a", 26379), host("b", 7000)],
            master: "m m".into(),
            user: Some("s".into()),
            password: Some("secret".into()),
        };
        assert!(options.servers == Servers::Sentinels(sentinels) && options.tls);
        assert_eq!(
            (options.database, options.password.as_deref()),
            (3, Some("p"))
        );
        assert_eq!(options.identity, Some(("c".into(), "k".into())));
        let shown = format!("{options:?}");
        assert!(
            shown.contains("of sentinels a:26379,b:7000") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn in_a_cluster_all_keys_have_one_tag() {
        let keys = |scheme: &str, prefix: &str| {
            let mut options = Options::parse(&format!("{scheme}://h")).unwrap();
            options.prefix = prefix.to_owned();
            options.check_prefix().map(|()| options.keys().into_owned())
        };
        for (prefix, expected) in [
            ("mneme", "{mneme}"),
            ("{mneme}", "{mneme}"),
            ("a:{b}c", "a:{b}c"),
            ("a}", "{a}}"),
            ("a{b", "{a{b}"),
            ("{}", "{{}}"),
        ] {
            let found = keys("redis+cluster", prefix).unwrap();
            assert_eq!(found, expected);
            assert!(has_tag(&found));
            assert_eq!(keys("redis", prefix).unwrap(), prefix);
        }
        for bad in ["}", "}a"] {
            assert!(keys("redis+cluster", bad).is_err());
            assert_eq!(keys("redis", bad).unwrap(), bad);
        }
    }

    #[test]
    fn a_url_says_where() {
        let options = Options::parse("redis://localhost").unwrap();
        assert!(options.servers == one("localhost", 6379) && !options.tls);
        assert_eq!((options.database, &*options.prefix), (0, "mneme"));
        assert_eq!((options.user, options.password), (None, None));
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.call_timeout, Duration::from_secs(10));

        let url = "redis://us%40er:p%2Fss%3A%C3%BC@[::1]:7000/3?prefix=%7Ba%7D%3Ab&connect_timeout_ms=7&call_timeout_ms=8";
        let options = Options::parse(url).unwrap();
        assert!(options.servers == one("::1", 7000));
        assert_eq!((options.database, &*options.prefix), (3, "{a}:b"));
        assert_eq!(options.user.as_deref(), Some("us@er"));
        assert_eq!(options.password.as_deref(), Some("p/ss:ü"));
        assert_eq!(options.connect_timeout, Duration::from_millis(7));
        assert_eq!(options.call_timeout, Duration::from_millis(8));

        let options = Options::parse("rediss://:secret@h/?cafile=/a%20b.pem").unwrap();
        assert!(options.servers == one("h", 6379) && options.tls);
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
            ("redis://u:secret@h,i", "redis+cluster://"),
            ("redis+cluster://u:secret@h,", "malformed"),
            ("redis+cluster://u:secret@h,i:x", "malformed"),
            ("redis+cluster://u:secret@h/1", "database 0 only"),
            ("redis+cluster://u:secret@h?master=m", "not known"),
            ("redis+sentinel://u:secret@h", "no master"),
            ("redis+sentinel://h?master=", "no master"),
            (
                "redis+sentinel://h?master=m&sentinel_user=secret",
                "no sentinel_password",
            ),
            ("rediss://u:secret@h?certfile=x", "give both"),
            ("redis://u:secret@h?certfile=x&keyfile=y", "write rediss"),
            ("redis://u:secret@h/x", "a number for the database"),
            ("redis://u:secret@h/-1", "a number from 0"),
            ("redis://u:secret@0.0.0.0", "names no host"),
            ("redis://u:secret@h/0#insecure", "after #"),
            ("redis://secret@h", "no password"),
            (
                "redis://u:secret@h?secret=1",
                "prefix, cafile, certfile, keyfile, connect_timeout_ms, call_timeout_ms",
            ),
            ("redis://u:secret@h?cafile=x", "write rediss"),
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
