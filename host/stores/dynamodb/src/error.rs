//! From what DynamoDB says to what the contract says.

use std::error::Error;
use std::io;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};

use mneme_store::{BackendError, StoreError};

/// Codes of requests that DynamoDB put off; nothing of them was done.
const THROTTLED: [&str; 8] = [
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// What is said of a server that does not prove to be the one asked for.
const DISTRUST: &str = "invalid peer certificate";

/// A failure inside the store, before it is told where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    /// A request failed.
    Request(Refusal),
    /// Stored data is damaged; the text says which item, and the remedy.
    Corrupt(String),
    /// The table is of another layout; the text has the remedy.
    Schema(String),
    /// Something else failed; the text has the remedy.
    System { message: String, retryable: bool },
    /// An error of the contract that needs nothing added.
    Typed(StoreError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

/// Why a request has no result.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The request, by DynamoDB's name.
    pub request: &'static str,
    /// DynamoDB's code, if it answered.
    pub code: Option<String>,
    /// What was said. No credentials.
    pub text: String,
    /// The same request may succeed later.
    pub retryable: bool,
    /// A write may have been carried out.
    pub unknown: bool,
    /// The server did not answer in time.
    pub silent: bool,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Typed(error)
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Self {
        Self::system(format!("a request could not be put together: {error}"))
    }
}

impl Refusal {
    pub fn new<E>(request: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut refusal = Self {
            request,
            code: error.code().map(str::to_owned),
            text: chain(error),
            retryable: false,
            unknown: false,
            silent: matches!(error, SdkError::TimeoutError(_)),
        };
        match error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
                refusal.retryable = true;
                refusal.unknown = true;
            }
            SdkError::DispatchFailure(failure) => {
                refusal.silent = failure.is_timeout();
                let distrusted = refusal.text.contains(DISTRUST);
                refusal.retryable = !distrusted
                    && (failure.is_io() || failure.is_timeout() || failure.as_other().is_some());
                refusal.unknown = refusal.retryable && !never_connected(error);
            }
            SdkError::ServiceError(service) => {
                if let Some(message) = service.err().message() {
                    refusal.text = message.to_owned();
                }
                let status = service.raw().status().as_u16();
                let throttled = refusal.is_throttled();
                let running = refusal.has_code(&["TransactionInProgressException"]);
                refusal.unknown = running || (status >= 500 && !throttled);
                refusal.retryable = throttled || refusal.unknown || status == 429;
            }
            _ => {}
        }
        refusal
    }

    /// There is no table of this name.
    pub fn no_table() -> Self {
        Self {
            request: "DescribeTable",
            code: Some("ResourceNotFoundException".to_owned()),
            text: "the table does not exist".to_owned(),
            retryable: false,
            unknown: false,
            silent: false,
        }
    }

    pub fn has_code(&self, codes: &[&str]) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| codes.contains(&code))
    }

    /// DynamoDB put the request off.
    pub fn is_throttled(&self) -> bool {
        self.has_code(&THROTTLED)
    }

    fn remedy(&self) -> &'static str {
        match self.code.as_deref() {
            Some("ResourceNotFoundException" | "TableNotFoundException") => {
                "check the name and the region, or create the table with create=true (DynamoDbStore::create)"
            }
            Some("AccessDeniedException") => {
                "give the credentials the rights, on the table and its indexes, to dynamodb:DescribeTable, GetItem, BatchGetItem, Query, Scan, PutItem, UpdateItem, DeleteItem, BatchWriteItem and ConditionCheckItem, and CreateTable for create=true"
            }
            Some(
                "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "IncompleteSignatureException"
                | "MissingAuthenticationTokenException"
                | "ExpiredTokenException"
                | "OptInRequired",
            ) => "check the credentials and their rights to the table",
            Some(code) if THROTTLED.contains(&code) => {
                "the table is throttled, so call again later, or raise its capacity"
            }
            _ if self.text.contains(DISTRUST) => {
                "check the endpoint; its certificate must be issued by one of the system's roots"
            }
            _ if self.retryable => "call again; if it stays, check the endpoint and the network",
            _ => "check the endpoint, the region and the table",
        }
    }
}

impl Fault {
    /// A request that may be repeated, whatever became of it, has failed.
    pub fn request<E>(request: &'static str) -> impl FnOnce(SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        move |error| Self::Request(Refusal::new(request, &error)).repeatable()
    }

    /// The failure of a write that may be repeated, whatever became of it.
    pub fn repeatable(self) -> Self {
        match self {
            Self::Request(refusal) => Self::Request(Refusal {
                unknown: false,
                ..refusal
            }),
            other => other,
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Typed(StoreError::InvalidArgument(message.into()))
    }

    pub fn system(message: impl Into<String>) -> Self {
        Self::System {
            message: message.into(),
            retryable: false,
        }
    }

    /// The failure of a partly stored write.
    pub fn in_part(self) -> Self {
        match self {
            Self::Request(refusal) => Self::Request(Refusal {
                unknown: true,
                ..refusal
            }),
            Self::System { message, .. } => Self::system(format!(
                "{message}, but a part is stored, so read before writing again"
            )),
            other => other,
        }
    }

    /// The failure of an import that has been decided.
    pub fn once_decided(self) -> Self {
        let decided = "the import is decided, and the next write or open completes it";
        match self {
            Self::Request(Refusal {
                request,
                code,
                text,
                ..
            }) => {
                let code = code.map(|code| format!("{code}: ")).unwrap_or_default();
                Self::system(format!("{request}: {code}{text}; {decided}"))
            }
            Self::System { message, .. } => Self::system(format!("{message}; {decided}")),
            other => other,
        }
    }

    /// The server was silent until a timeout.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Request(refusal) if refusal.silent)
    }

    /// Damage, as opposed to a failure to look.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Schema(_))
    }

    /// The error for the caller: which table, in which operation. Where `repeatable` is
    /// false, the operation must not be called again while it is unknown whether it took
    /// effect.
    pub fn at(self, table: &str, doing: &str, repeatable: bool) -> StoreError {
        let site = format!("DynamoDB table {table}, {doing}");
        match self {
            Self::Typed(error) => error,
            Self::Corrupt(what) => StoreError::Corrupt(format!("{site}: {what}")),
            Self::Schema(what) => StoreError::Schema(format!("{site}: {what}")),
            Self::System { message, retryable } => backend(format!("{site}: {message}"), retryable),
            Self::Request(refusal) => refused(&site, &refusal, repeatable),
        }
    }
}

fn backend(message: String, retryable: bool) -> StoreError {
    StoreError::Backend(BackendError { message, retryable })
}

fn refused(site: &str, refusal: &Refusal, repeatable: bool) -> StoreError {
    let Refusal { request, text, .. } = refusal;
    let said = match &refusal.code {
        Some(code) => format!("{site}: {request}: {code}: {text}"),
        None => format!("{site}: {request}: {text}"),
    };
    if is_size_limit(refusal) {
        // Of the argument, so without the place: whoever gave it may not know that.
        return StoreError::InvalidArgument(format!(
            "{text}; an item of DynamoDB holds at most 400 KB, so store less"
        ));
    }
    if refusal.unknown && !repeatable {
        return backend(
            format!("{said}; it is unknown whether it was stored, so read before writing again"),
            false,
        );
    }
    backend(format!("{said}; {}", refusal.remedy()), refusal.retryable)
}

/// Whether an item, a key or a transaction was too large.
fn is_size_limit(refusal: &Refusal) -> bool {
    refusal.has_code(&["ValidationException", "ValidationError"])
        && [
            "maximum allowed size",
            "size limit",
            "exceeds 4 MB",
            "exceed 4 MB",
        ]
        .iter()
        .any(|said| refusal.text.contains(said))
}

/// The texts of an error and of what caused it, each once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in sources(error) {
        let text = error.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// Whether the request did not even reach a server.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|error| {
        let text = error.to_string();
        let refused = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        refused || text.contains("(Connect)") || text.contains("HTTP connect timeout")
    })
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
