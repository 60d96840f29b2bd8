//! From what Postgres says to what the contract says.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tokio_postgres::Error as ClientError;
use tokio_postgres::error::{DbError, Severity};

use mneme_store::background::Unfinished;
use mneme_store::{BackendError, StoreError};

/// A failure inside the store, before it is told where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    /// No connection could be made.
    Connect(ClientError),
    /// None of several servers took the connection: which, and why.
    Refused(Vec<(String, Fault)>),
    /// A statement failed, or the connection during it.
    Statement(ClientError),
    /// The connection ended while a reply was due, for this reason.
    Lost(String),
    /// The time was up, which was this long.
    Unfinished(Unfinished, Duration),
    /// The time was up, which was this long, because other transactions were in the way.
    InTheWay(Duration),
    /// The connection ended, or cannot be used any more, for this reason, and the view with
    /// it.
    View(String),
    /// An import does not fit; the text has the remedy.
    Import(String),
    /// Stored data is damaged; the text says where, and the remedy.
    Corrupt(String),
    /// The schema is of another layout; the text has the remedy.
    Schema(String),
    /// Something else that no repetition changes; the text has the remedy.
    System(String),
    /// Nobody knows whether it has happened, as the connection was lost for this reason; what
    /// its repetition would do.
    Unknown(Box<Fault>, Repeat),
    /// This has ended the import.
    Over(Box<Fault>),
    /// The operation must not be called now; the text goes on after its name.
    Misplaced(&'static str),
    /// An error of the contract that needs nothing added.
    Typed(StoreError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

/// What repeating an operation would do that may have happened already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, and is repeated here.
    Read,
    /// The result is the same, so that the caller may repeat it.
    Same,
    /// It would count twice.
    Twice,
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Statement(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Typed(error)
    }
}

impl Fault {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Typed(StoreError::InvalidArgument(message.into()))
    }

    /// What the server said, if it said something.
    pub fn said(&self) -> Option<&DbError> {
        match self {
            Self::Connect(error) | Self::Statement(error) => error.as_db_error(),
            _ => None,
        }
    }

    /// The SQLSTATE, or nothing.
    pub fn code(&self) -> &str {
        self.said().map_or("", |said| said.code().code())
    }

    /// Whether the connection ended before the server's verdict.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Refused(_)
            | Self::Lost(_)
            | Self::View(_)
            | Self::Unfinished(..) => true,
            Self::Statement(_) => self
                .said()
                .is_none_or(|said| said.parsed_severity() != Some(Severity::Error)),
            _ => false,
        }
    }

    /// The server was silent until a timeout.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Unfinished(why, _) => matches!(why, Unfinished::Late),
            Self::Connect(error) | Self::Statement(error) => {
                let source = error.source().and_then(|source| source.downcast_ref());
                source.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
            }
            Self::Refused(servers) => servers.iter().any(|(_, fault)| fault.is_silence()),
            Self::Unknown(fault, _) | Self::Over(fault) => fault.is_silence(),
            _ => false,
        }
    }

    /// Whether another connection may fare better: plans and prepared statements belong to
    /// the connection, and a server that only reads may not be the primary any more.
    pub fn spoils(&self) -> bool {
        self.is_lost() || matches!(self.code(), "25006" | "0A000" | "26000" | "42P05")
    }

    /// Whether other transactions were in the way, and nothing of this one is stored.
    pub fn is_conflict(&self) -> bool {
        let code = self.code();
        code.starts_with("40") || matches!(code, "55P03" | "23505")
    }

    /// Whether two processes created the same things.
    pub fn is_creation_race(&self) -> bool {
        self.is_conflict() || matches!(self.code(), "42P06" | "42P07" | "42701" | "42710" | "XX000")
    }

    /// Damage, as opposed to a failure to look.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Schema(_))
            || matches!(
                self.code(),
                "XX001" | "XX002" | "42P01" | "42703" | "3F000" | "42883" | "42804"
            )
    }

    /// The error for the caller: at which place, in which operation.
    pub fn at(self, place: &str, doing: &str) -> StoreError {
        self.worded(&format!("Postgres store {place}, {doing}"), doing)
    }

    /// The error for the caller, of an operation and with its site.
    fn worded(self, site: &str, doing: &str) -> StoreError {
        match self {
            Self::Typed(error) => error,
            Self::Misplaced(what) => StoreError::InvalidArgument(format!("{doing} {what}")),
            Self::Unknown(what, Repeat::Twice) => backend(
                format!(
                    "{site}: {}; whether it has happened is unknown, and called again it might count twice, so look first",
                    what.text()
                ),
                false,
            ),
            Self::Unknown(what, _) => backend(
                format!(
                    "{site}: {}; whether it has happened is unknown, and calling again is safe",
                    what.text()
                ),
                true,
            ),
            Self::Over(fault) => match fault.worded(site, doing) {
                StoreError::Backend(error) => backend(
                    format!(
                        "{}; the import is over and nothing of it is stored, so begin it again",
                        error.message
                    ),
                    error.retryable,
                ),
                error => error,
            },
            Self::View(what) => backend(
                format!(
                    "{site}: {what}; the view is over, as another connection would show later data; begin another, and read from the start"
                ),
                true,
            ),
            Self::Import(what) => StoreError::Checkpoint(format!("{site}: {what}")),
            Self::Corrupt(what) => StoreError::Corrupt(format!("{site}: {what}")),
            Self::Schema(what) => StoreError::Schema(format!("{site}: {what}")),
            Self::System(what) => backend(format!("{site}: {what}"), false),
            Self::Lost(what) => backend(
                format!("{site}: {what}; the connection was lost, call again"),
                true,
            ),
            Self::InTheWay(_) => backend(
                format!("{site}: {}; nothing was stored, call again", self.text()),
                true,
            ),
            Self::Unfinished(why, limit) => {
                let retryable = matches!(why, Unfinished::Late);
                let say = match why {
                    Unfinished::Late => format!(
                        "no answer for {} ms; check the network and the server's load, or raise the timeout",
                        limit.as_millis()
                    ),
                    other => other.to_string(),
                };
                backend(format!("{site}: {say}"), retryable)
            }
            Self::Refused(servers) => {
                let (mut said, mut retryable) = (String::new(), false);
                for (name, fault) in servers {
                    if let StoreError::Backend(error) = fault.worded(&name, doing) {
                        retryable |= error.retryable;
                        said = format!("{said}. {}", error.message);
                    }
                }
                backend(
                    format!("{site}: no server took the connection{said}"),
                    retryable,
                )
            }
            Self::Connect(ref error) | Self::Statement(ref error) => match error.as_db_error() {
                Some(said) => refused(site, said, &self.text()),
                None => unreachable_server(site, &self, error),
            },
        }
    }

    /// What happened, on one line.
    pub fn text(&self) -> String {
        match self {
            Self::Connect(error) | Self::Statement(error) => describe(error),
            Self::Refused(servers) => {
                let one = |(name, fault): &(String, Self)| format!("{name}: {}", fault.text());
                servers.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Self::Unfinished(why, _) => why.to_string(),
            Self::InTheWay(limit) => format!(
                "other transactions were in the way for {} ms",
                limit.as_millis()
            ),
            Self::Lost(what)
            | Self::View(what)
            | Self::Import(what)
            | Self::Corrupt(what)
            | Self::Schema(what)
            | Self::System(what) => what.clone(),
            Self::Over(fault) | Self::Unknown(fault, _) => fault.text(),
            Self::Misplaced(what) => (*what).to_owned(),
            Self::Typed(error) => format!("{error:?}"),
        }
    }
}

/// The words of the server, else of the client and of what is behind them.
pub(super) fn describe(error: &ClientError) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn backend(message: String, retryable: bool) -> StoreError {
    StoreError::Backend(BackendError { message, retryable })
}

/// No words of the server: the network, TLS, or something that is not Postgres.
fn unreachable_server(site: &str, fault: &Fault, error: &ClientError) -> StoreError {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let what = fault.text();
    let may_not = io.filter(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if let (Some(error), Fault::Connect(_)) = (may_not, fault) {
        // The client has no other word for a server that is not of the kind that was asked for.
        let is_other_kind = error.raw_os_error().is_none();
        let remedy = match is_other_kind {
            true => {
                "target_session_attrs asks for a server of another kind; call again when one was promoted, or name it in the URL"
            }
            false => "give the user of this process the right to use the server's socket",
        };
        return backend(format!("{site}: {what}; {remedy}"), is_other_kind);
    }
    let passing = match io {
        Some(error) => !matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        ),
        None => error.is_closed(),
    };
    match (passing, fault) {
        (true, Fault::Connect(_)) => backend(
            format!(
                "{site}: {what}; check that the server runs and that host and port are right, then call again"
            ),
            true,
        ),
        (true, _) => backend(
            format!("{site}: {what}; the connection was lost, call again"),
            true,
        ),
        (false, Fault::Connect(_)) => backend(
            format!(
                "{site}: {what}; check sslmode and sslrootcert, user and password, and that this is a Postgres server"
            ),
            false,
        ),
        (false, _) => backend(format!("{site}: {what}"), false),
    }
}

/// Which limit of connections was reached, by the words of the server, and what to do. Each
/// store has one connection, and one more while it imports.
fn crowded(said: &str) -> &'static str {
    let has = |words: &str| said.contains(words);
    if has("for role") {
        "the limit is that of the role; call again later, raise it (ALTER ROLE ... CONNECTION LIMIT), or open fewer stores"
    } else if has("for database") {
        "the limit is that of the database; call again later, raise it (ALTER DATABASE ... CONNECTION LIMIT), or open fewer stores"
    } else {
        "the limit is max_connections of the server; call again later, raise it, open fewer stores, or put PgBouncer before the server"
    }
}

/// What to do about an error that PgBouncer made, by its words, as most have one code; and whether
/// it passes.
fn of_pooler(said: &str) -> Option<(&'static str, bool)> {
    let has = |words: &str| said.contains(words);
    if has("max_client_conn") {
        Some((
            "the limit is max_client_conn of PgBouncer; call again later, raise it, or open fewer stores",
            true,
        ))
    } else if has("query_wait_timeout") {
        Some((
            "the limit is how many sessions PgBouncer has for this database and role; call again later, raise it (default_pool_size, max_db_connections, max_user_connections), or end views and imports sooner",
            true,
        ))
    } else if has("unsupported startup parameter") {
        Some((
            "leave it out of the URL, or name it in ignore_startup_parameters of PgBouncer",
            false,
        ))
    } else {
        None
    }
}

/// An error of the server.
fn refused(site: &str, said: &DbError, what: &str) -> StoreError {
    let say = |remedy: &str| format!("{site}: {what}; {remedy}");
    let code = said.code().code();
    if let Some((remedy, retryable)) = of_pooler(said.message()).filter(|_| code == "08P01") {
        return backend(say(remedy), retryable);
    }
    match code {
        "XX001" | "XX002" => {
            StoreError::Corrupt(say("the server's files are damaged, restore a backup"))
        }
        "42P01" | "42703" | "3F000" | "42883" | "42804" => StoreError::Schema(say(
            "the tables are gone, or not those of a cache; open the store again, or give another schema",
        )),
        "23505" if said.constraint() == Some("entries_pkey") => StoreError::Corrupt(say(
            "the sequence of the ids is behind the entries; set it beyond the greatest id with setval",
        )),
        "23505" => backend(
            say("another program keeps inserting the same entry; nothing was stored, call again"),
            true,
        ),
        "54000" if said.constraint().is_some() => {
            let part = match said.table() {
                Some("schema_meta") => "the key",
                _ => "the namespace",
            };
            // Of the argument, so without the place: whoever gave it may not know that.
            StoreError::InvalidArgument(format!(
                "{part} is too long for an index of Postgres, which holds some 2,700 bytes after compression; give a shorter one"
            ))
        }
        "25006" => backend(
            say(
                "this server only reads, a standby perhaps; give the URL of the primary, or name all servers with target_session_attrs=read-write",
            ),
            false,
        ),
        "26000" | "42P05" => backend(
            say(
                "a connection pooler swaps sessions without their prepared statements; write pooler=transaction into the URL",
            ),
            false,
        ),
        "3D000" => backend(say("create the database, or name another one"), false),
        "42501" => backend(
            say(
                "grant the role USAGE on the schema and its sequences, SELECT, INSERT, UPDATE and DELETE on its tables, and to create them CREATE on schema and database",
            ),
            false,
        ),
        "53100" => backend(
            say("nothing was stored; free space on the server's disk and call again"),
            false,
        ),
        "53200" => backend(
            say("the server is out of memory; call again later, or give it more"),
            true,
        ),
        "53300" => backend(say(crowded(said.message())), true),
        "57014" => backend(
            say(
                "the server stopped it at the timeout or on request; call again, or raise the call timeout",
            ),
            true,
        ),
        "57P04" => backend(say("name another database"), false),
        _ => match &code[..code.len().min(2)] {
            "08" | "57" => backend(say("call again when the server is back"), true),
            "40" | "55" => backend(
                say("other transactions were in the way; nothing was stored, call again"),
                true,
            ),
            "23" => backend(
                say(
                    "a constraint refuses the row; nothing was stored, remove what the cache's tables do not have",
                ),
                false,
            ),
            "22" | "54" => StoreError::InvalidArgument(format!(
                "Postgres cannot hold a value that it was given (SQLSTATE {code}); give another, or a shorter one"
            )),
            "28" => backend(
                say("check user and password, and the server's pg_hba.conf"),
                false,
            ),
            _ => backend(format!("{site}: {what}"), false),
        },
    }
}
