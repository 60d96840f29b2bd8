//! From what Redis says to what the contract says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::options::Host;
use super::scripts::Script;
use mneme_store::{BackendError, StoreError, checks};

/// A failure inside the store, before it is told where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server refused, and did nothing.
    Refused(RedisError),
    /// There is no connection; nothing was asked.
    Unconnected {
        error: RedisError,
        /// The server that was to be reached.
        at: Host,
    },
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
    /// The user lacks the right to a command.
    Rights(String),
    /// The set-up is wrong; the text has the remedy.
    Setup(String),
    /// It is going to be right by itself; the text says what.
    Later(String),
    /// What an earlier call has stored is not there any more; the text has the remedy.
    Gone(String),
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

/// What a script says where the cache that it is for is not there.
const VANISHED: &str = "MNEME-VANISHED";

/// What a script says where the user lacks the right to a command, which follows.
const RIGHTS: &str = "MNEME-RIGHTS ";

/// What a script says where a cluster moves its keys.
const MOVES: &str = "MNEME-MOVES";

/// What the server's refusals mean, by the code that they begin with: whether to call again
/// as it is, and what to do.
const REFUSALS: &[(&str, bool, &str)] = &[
    ("LOADING", true, "the server reads its data, so call again"),
    (
        "BUSY",
        true,
        "a long script keeps the server busy, so call again",
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
        "this is a node of a cluster, so write redis+cluster:// in place of redis://",
    ),
    (
        "CROSSSLOT",
        false,
        "this is a node of a cluster, so write redis+cluster:// in place of redis://, which gives the prefix a hash tag",
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
        "grant the user the keys of the prefix, with ACL SETUSER and ~PREFIX:*",
    ),
];

impl Fault {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Typed(StoreError::InvalidArgument(message.into()))
    }

    /// Nodes of a cluster send a request from one to the other.
    pub fn astray() -> Self {
        Self::Later(
            "the nodes of the cluster send the request from one to the other, and none has the data: it may be moving, or the nodes not agree yet, so call again"
                .to_owned(),
        )
    }

    /// An error that the server answered with.
    pub fn refused(error: RedisError) -> Self {
        let text = error.to_string();
        if text.contains(VANISHED) {
            return Self::Corrupt(checks::vanished());
        }
        if text.contains(MOVES) {
            return Self::Later(
                "the cluster moves these keys to another node; nothing was done, so call again"
                    .to_owned(),
            );
        }
        if let Some((_, command)) = text.split_once(RIGHTS) {
            let command = command.split(' ').next().unwrap_or_default();
            return Self::Rights(command.to_uppercase());
        }
        if error.code() == Some("NOPERM")
            && let Some((_, command)) = text.split_once("run the '")
            && let Some((command, _)) = command.split_once('\'')
        {
            return Self::Rights(command.to_uppercase());
        }
        if let Some((_, damage)) = text.split_once(DAMAGE) {
            return Self::Corrupt(format!(
                "{}; delete the key, or give another prefix",
                without_line(damage)
            ));
        }
        Self::Refused(error)
    }

    /// Names the command of a script that the user lacks the right to.
    pub fn in_script(self, script: &Script) -> Self {
        let Self::Refused(error) = &self else {
            return self;
        };
        let text = error.to_string();
        if !text.contains("can't run this command") {
            return self;
        }
        let line = text.rsplit("user_script:").next().unwrap_or_default();
        let digits = line
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(line.len());
        let line = line[..digits].parse().unwrap_or(0);
        match script.command_at(line) {
            Some(command) => Self::Rights(command.to_owned()),
            None => self,
        }
    }

    /// Names the key that the server was asked for, if it is of the wrong type.
    pub fn of(self, key: &str) -> Self {
        match self {
            Self::Refused(error) if error.code() == Some("WRONGTYPE") => Self::Corrupt(format!(
                "key {key} is of the wrong type; delete the key, or give another prefix"
            )),
            other => other,
        }
    }

    /// The server does not have the script, and so has not run it.
    pub fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code() == Some("NOSCRIPT"))
    }

    /// The server will say the same on this connection until it is reopened.
    pub fn spoils_connection(&self) -> bool {
        matches!(self, Self::Refused(error) if refusal(error).is_some_and(|(code, ..)| {
            matches!(*code, "READONLY" | "NOAUTH" | "MASTERDOWN" | "MOVED")
        }))
    }

    /// There is no connection, or none any more.
    pub fn is_of_connection(&self) -> bool {
        matches!(self, Self::Unconnected { .. } | Self::Lost { .. })
    }

    /// The server was silent until a timeout.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Unconnected { error, .. } | Self::Lost { error, .. } => error.is_timeout(),
            _ => false,
        }
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
            Self::Rights(command) => backend(
                format!(
                    "{site}: the user may not run the command {command}; grant it with ACL SETUSER and +{}; the documentation of RedisStore lists all rights that the store needs",
                    command.to_lowercase()
                ),
                false,
            ),
            Self::Setup(what) | Self::Gone(what) => backend(format!("{site}: {what}"), false),
            Self::Later(what) => backend(format!("{site}: {what}"), true),
            Self::Nonsense(what) => backend(
                format!("{site}: {what}; check that the address belongs to a Redis server"),
                false,
            ),
            Self::Refused(error) => refused(&site, &error),
            Self::Unconnected { error, at } => unconnected(&site, &error, &at),
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
    // What a script of ours is told of keys that are elsewhere.
    if said.contains("non local key") || said.contains("hash to the same slot") {
        return backend(
            format!(
                "{site}: {said}; this is a node of a cluster, so write redis+cluster:// in place of redis://, which gives the prefix a hash tag"
            ),
            false,
        );
    }
    if said.contains("while the cluster is down") {
        return backend(
            format!("{site}: {said}; the cluster lacks nodes, so call again when it is up"),
            true,
        );
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
    match error.code() {
        Some(code) => format!("{code} {}", without_line(detail)),
        None => error.to_string(),
    }
}

/// Without the script and the line that Redis adds.
fn without_line(text: &str) -> &str {
    match text.rfind(" script: ") {
        Some(end) if text[end..].contains(", on @") => text[..end].trim_end_matches(','),
        _ => text,
    }
}

fn unconnected(site: &str, error: &RedisError, at: &Host) -> StoreError {
    if error.kind() == ErrorKind::InvalidClientConfig {
        return backend(format!("{site}: {error}; correct the URL"), false);
    }
    if is_tls(error) {
        return backend(
            format!(
                "{site}: no TLS connection to {at}: {error}; check the certificates, that cafile names the one of their authority, and that the port is the one for TLS"
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
            "{site}: no connection to {at}: {what}; check that the server runs at this address, with TLS where the URL begins with rediss, and call again"
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
    let source = std::error::Error::source(error);
    let shared =
        source.and_then(|source| source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    let io = shared.and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|error| {
        error.kind() == io::ErrorKind::InvalidData
            || error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>())
    })
}

#[cfg(test)]
mod tests;
