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
mod tests;
