//! From what Redis says to what the contract says.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use crate::store::{BackendError, StoreError};

/// A failure inside the store, before it is told where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server refused, and did nothing.
    Refused(RedisError),
    /// There is no connection; nothing was asked.
    Unconnected(RedisError),
    /// The connection was lost.
    Lost {
        error: RedisError,
        /// The server may have done what it was asked, which must not happen twice.
        unknown: bool,
        /// How long the answer was waited for.
        waited: Duration,
    },
    /// The answer is not what the command has for an answer.
    Nonsense(String),
    /// Stored data is damaged; the text says where, and the remedy.
    Corrupt(String),
    /// The data is of another layout; the text has the remedy.
    Schema(String),
    /// The set-up is wrong; the text has the remedy.
    Setup(String),
    /// An error of the contract that needs nothing added.
    Typed(StoreError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Typed(error)
    }
}

/// What a script says of damaged data; the key and what is wrong with it follow.
const DAMAGE: &str = "MNEME-CORRUPT ";

/// What the server's refusals mean, by the code that they begin with: whether to call again
/// as it is, and what to do.
const REFUSALS: &[(&str, bool, &str)] = &[
    ("LOADING", true, "the server reads its data, so call again"),
    (
        "BUSY",
        true,
        "a script has kept the server busy for long, so call again",
    ),
    (
        "READONLY",
        true,
        "this server is a replica, so give the address of the primary, or call again after a failover",
    ),
    (
        "MASTERDOWN",
        true,
        "the replica has lost its primary, so call again",
    ),
    (
        "CLUSTERDOWN",
        true,
        "the cluster lacks nodes, so call again when it is up",
    ),
    (
        "TRYAGAIN",
        true,
        "the cluster moves these keys, so call again",
    ),
    ("ASK", true, "the cluster moves these keys, so call again"),
    (
        "NOREPLICAS",
        true,
        "too few replicas are up for a write, so call again",
    ),
    (
        "MOVED",
        false,
        "in a cluster give the address of the node that has the prefix, and a prefix with a hash tag such as {mneme}",
    ),
    (
        "CROSSSLOT",
        false,
        "in a cluster give a prefix with a hash tag, such as {mneme}",
    ),
    (
        "OOM",
        false,
        "nothing was stored; raise the server's maxmemory, or delete entries",
    ),
    (
        "MISCONF",
        false,
        "nothing was stored; the server cannot save its data, so see its log and free space on its disk",
    ),
    (
        "NOAUTH",
        false,
        "the server asks for a password, so give it in the URL",
    ),
    (
        "WRONGPASS",
        false,
        "give the right user and password in the URL",
    ),
    (
        "NOPERM",
        false,
        "give the user the right to all commands on the keys of the prefix",
    ),
];

impl Fault {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Typed(StoreError::InvalidArgument(message.into()))
    }

    /// An error that the server answered with.
    pub fn refused(error: RedisError) -> Self {
        let text = error.to_string();
        if let Some((_, damage)) = text.split_once(DAMAGE) {
            // Redis adds the script and the line.
            let damage = damage
                .rfind(" script: ")
                .map_or(damage, |end| &damage[..end]);
            let damage = damage.trim_end_matches(',');
            return Self::Corrupt(format!("{damage}; delete the key, or give another prefix"));
        }
        if text.contains("WRONGTYPE") {
            return Self::Corrupt(
                "a key is of the wrong type; give a prefix that nothing else uses".to_owned(),
            );
        }
        Self::Refused(error)
    }

    /// The server does not have the script, and so has not run it.
    pub fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code() == Some("NOSCRIPT"))
    }

    /// The server will say the same on this connection until it is made anew.
    pub fn spoils_connection(&self) -> bool {
        matches!(self, Self::Refused(error) if refusal(error).is_some_and(|(code, ..)| {
            matches!(*code, "READONLY" | "NOAUTH" | "MASTERDOWN" | "MOVED")
        }))
    }

    /// Damage, as opposed to a failure to look.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_))
    }

    /// The error for the caller: which data, in which operation.
    pub fn at(self, place: &str, doing: &str) -> StoreError {
        let site = format!("Redis store {place}, {doing}");
        match self {
            Self::Typed(error) => error,
            Self::Corrupt(what) => StoreError::Corrupt(format!("{site}: {what}")),
            Self::Schema(what) => StoreError::Schema(format!("{site}: {what}")),
            Self::Setup(what) => backend(format!("{site}: {what}"), false),
            Self::Nonsense(what) => backend(
                format!("{site}: {what}; check that the address is one of a Redis server"),
                false,
            ),
            Self::Refused(error) => refused(&site, &error),
            Self::Unconnected(error) => unconnected(&site, &error),
            Self::Lost {
                error,
                unknown,
                waited,
            } => lost(&site, &error, unknown, waited),
        }
    }
}

fn backend(message: String, retryable: bool) -> StoreError {
    StoreError::Backend(BackendError { message, retryable })
}

/// The entry of [`REFUSALS`] for an error, which old servers wrap into one of the script.
fn refusal(error: &RedisError) -> Option<&'static (&'static str, bool, &'static str)> {
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    REFUSALS
        .iter()
        .find(|(known, ..)| code == *known)
        .or_else(|| {
            let within = |known: &str| {
                detail.match_indices(known).any(|(at, _)| {
                    let before = detail[..at].chars().next_back();
                    let after = detail[at + known.len()..].chars().next();
                    matches!(before, None | Some(' ' | '-')) && after == Some(' ')
                })
            };
            REFUSALS
                .iter()
                .find(|(known, ..)| code == "ERR" && within(known))
        })
}

fn refused(site: &str, error: &RedisError) -> StoreError {
    let said = said(error);
    if let Some((_, retryable, remedy)) = refusal(error) {
        return backend(format!("{site}: {said}; {remedy}"), *retryable);
    }
    if said.contains("max number of clients") {
        return backend(
            format!("{site}: {said}; call again when other clients have gone, or raise maxclients"),
            true,
        );
    }
    backend(format!("{site}: the server refused: {said}"), false)
}

/// The server's words, without what it adds of scripts.
fn said(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let detail = detail
        .rfind(" script: ")
        .map_or(detail, |end| &detail[..end]);
    match error.code() {
        Some(code) => format!("{code} {}", detail.trim_end_matches(',')),
        None => error.to_string(),
    }
}

fn unconnected(site: &str, error: &RedisError) -> StoreError {
    if error.kind() == ErrorKind::InvalidClientConfig {
        return backend(format!("{site}: {error}; correct the URL"), false);
    }
    if is_tls(error) {
        return backend(
            format!(
                "{site}: no TLS connection: {error}; check the certificates, that cafile names the one of their authority, and that the port is the one for TLS"
            ),
            false,
        );
    }
    let what = match error.is_timeout() {
        true => "the server did not answer within the connect timeout".to_owned(),
        false => error.to_string(),
    };
    backend(
        format!(
            "{site}: no connection: {what}; check that the server runs at this address and call again"
        ),
        true,
    )
}

fn lost(site: &str, error: &RedisError, unknown: bool, waited: Duration) -> StoreError {
    let what = match error.is_timeout() {
        true => format!("the server did not answer within {} ms", waited.as_millis()),
        false => format!("the connection was lost: {error}"),
    };
    let remedy = match unknown {
        true => "it is unknown whether the server did it, so look before calling again",
        false => "call again",
    };
    backend(format!("{site}: {what}; {remedy}"), !unknown)
}

/// Whether TLS could not be agreed on, as opposed to a connection that was lost.
fn is_tls(error: &RedisError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<rustls::Error>() {
            return true;
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::InvalidData
                || io
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>())
            {
                return true;
            }
        }
        source = inner.source();
    }
    false
}
