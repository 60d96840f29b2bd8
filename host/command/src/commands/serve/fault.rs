//! Errors, as responses.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mneme::Error;
use serde::Serialize;
use utoipa::ToSchema;

use crate::json;

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    #[serde(skip)]
    status: StatusCode,
    /// What the server's log says, and the client is not told.
    #[serde(skip)]
    log: Option<String>,
    error: Reason,
    /// What an erasure had erased before it stopped; erase again, with the same filter, for the rest.
    /// Other errors have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Box<json::Receipt>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Reason {
    /// A stable name, such as `invalid_argument`.
    kind: &'static str,
    /// What happened, where, and what to do.
    message: String,
    /// Whether the same request may succeed later without a repair.
    retryable: bool,
}

/// What only the server's log says of a response.
#[derive(Clone)]
pub struct Logged(pub String);

/// The most characters of a message to a client.
pub const MESSAGE: usize = 600;

/// The most characters of a line of the log.
pub const LINE: usize = 4000;

/// A text of at most so many characters and a mark, which is where others were left out: in the
/// middle, as what happened is said first, and what to do last. Texts may repeat what a client sent.
pub fn excerpt(text: &str, most: usize) -> Cow<'_, str> {
    let end = |count| text.char_indices().nth(count).map(|(at, _)| at);
    if end(most).is_none() {
        return text.into();
    }
    let head = end(most / 2).unwrap_or_default();
    let tail = text.char_indices().rev().nth(most / 2 - 1);
    let tail = tail.map_or(text.len(), |(at, _)| at);
    let (first, last) = (&text[..head], &text[tail..]);
    format!("{first} [... {} bytes left out ...] {last}", tail - head).into()
}

/// What a client learns of a failure of the embedder, whose message may name hosts and users.
pub fn of_embedder(retryable: bool) -> &'static str {
    match retryable {
        true => {
            "the embedder failed for now; try again later, pass the embedding, or put with exact_only; the server's standard error says why"
        }
        false => {
            "the embedder failed, and would again; pass the embedding, put with exact_only, or change the text; the server's standard error says why"
        }
    }
}

/// What a client learns of what a store does not do, whose message says where the store is.
const UNSUPPORTED: &str = "the store of this server can only be read, or lacks this operation; nothing was changed; use a server that can write, and see this one's standard error for the reason";

impl Fault {
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            log: None,
            error: Reason {
                kind,
                message: excerpt(&message.into(), MESSAGE).into_owned(),
                retryable: false,
            },
            receipt: None,
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// The same request may succeed later.
    pub fn busy(message: impl Into<String>) -> Self {
        let mut fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        fault.error.retryable = true;
        fault
    }

    /// A body that did not arrive in time.
    pub fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the body did not arrive in time; see --body-timeout",
        )
    }

    /// An archive that did not arrive in time.
    pub fn slow_archive() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the archive did not arrive in time; see --archive-timeout",
        )
    }

    /// Something on this machine failed, such as its disk. The log names it.
    pub fn internal(log: impl Into<String>) -> Self {
        Self::failed(StatusCode::INTERNAL_SERVER_ERROR, "io", log)
    }

    /// Nothing was answered in time.
    pub fn slow(seconds: u64) -> Self {
        Self::late(format!("no answer of the cache within {seconds} s"))
    }

    /// Nothing was answered in time, as a job has the cache.
    pub fn held_up(seconds: u64) -> Self {
        Self::late(format!(
            "no answer of the cache within {seconds} s, as a dump, a load or a full check is under way"
        ))
    }

    fn late(what: String) -> Self {
        let mut fault = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            format!("{what}; a change that was asked for may still happen; try again later"),
        );
        fault.error.retryable = true;
        fault
    }

    /// What went wrong with an archive, as it was checked apart from the cache.
    pub fn of_archive(error: Error) -> Self {
        match error {
            Error::Backend { .. } | Error::Component(_) | Error::Closed => error.into(),
            Error::Checkpoint(message) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "checkpoint", message)
            }
            error => {
                let mut fault = Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    error.kind(),
                    "the archive cannot be loaded: its content is damaged, takes too much time or memory, or is of a kind that this server does not know; `mneme inspect` says more",
                );
                fault.log = Some(error.to_string());
                fault
            }
        }
    }

    /// A failure whose kind is shown to the client. The rest may name files, hosts and users, so only
    /// the log shows it.
    fn failed(status: StatusCode, kind: &'static str, log: impl Into<String>) -> Self {
        let mut fault = Self::new(
            status,
            kind,
            "the server could not do this; its standard error says why",
        );
        fault.log = Some(log.into());
        fault
    }

    /// An error of which the client learns this, and the log all.
    fn hidden(status: StatusCode, error: &Error, shown: &'static str) -> Self {
        let mut fault = Self::new(status, error.kind(), shown);
        fault.log = Some(error.to_string());
        fault
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if let Error::Unfinished { receipt, source } = error {
            let mut fault = Self::from(*source);
            fault.receipt = Some(Box::new(json::Receipt::new(&receipt, false)));
            return fault;
        }
        let retryable = error.is_retryable();
        let status = match &error {
            Error::InvalidArgument(_) | Error::EmbedderDimension { .. } => StatusCode::BAD_REQUEST,
            Error::QuotaExceeded(_) => StatusCode::CONFLICT,
            Error::Checkpoint(_) | Error::EmbedderMismatch { .. } | Error::Quantization(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::Embedder(_) if !retryable => StatusCode::BAD_GATEWAY,
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Closed | Error::IndexUnavailable(_) | Error::Limit(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ if retryable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut fault = match &error {
            // Of the request, the entries or an archive, and never of a place.
            Error::Closed
            | Error::EmbedderMismatch { .. }
            | Error::Checkpoint(_)
            | Error::QuotaExceeded(_)
            | Error::IndexUnavailable(_)
            | Error::Quantization(_)
            | Error::Refused(_)
            | Error::InvalidArgument(_)
            | Error::Limit(_) => Self::new(status, error.kind(), error.to_string()),
            Error::EmbedderDimension { expected, actual } => Self::new(
                status,
                error.kind(),
                format!(
                    "the embedding has {actual} numbers, and this cache takes {expected}; send {expected} numbers"
                ),
            ),
            Error::Unsupported(_) => Self::hidden(status, &error, UNSUPPORTED),
            Error::Embedder(_) => Self::hidden(status, &error, of_embedder(retryable)),
            _ => Self::failed(status, error.kind(), error.to_string()),
        };
        fault.error.retryable = retryable || matches!(error, Error::Closed);
        fault
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE && self.error.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        if let Some(log) = self.log {
            response.extensions_mut().insert(Logged(log));
        }
        response
    }
}

/// Nothing is at this path.
pub async fn not_found(at: Uri) -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!(
            "nothing is at {:?}; /openapi.json lists all paths",
            at.path()
        ),
    )
}

/// This path takes other methods.
pub async fn method_not_allowed(at: Uri) -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!(
            "{:?} takes another method; see the header `allow`",
            at.path()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mneme::embedder::EmbedError;

    #[test]
    fn only_errors_without_a_place_are_passed_on() {
        const MARK: &str = "/srv/secret.db at host h, table t";
        let text = || MARK.to_owned();
        let errors = [
            (Error::Closed, false),
            (
                Error::EmbedderMismatch {
                    stored: text(),
                    given: "model".into(),
                },
                true,
            ),
            (
                Error::EmbedderDimension {
                    expected: 4,
                    actual: 2,
                },
                false,
            ),
            (Error::Corrupt(text()), false),
            (Error::Schema(text()), false),
            (Error::Checkpoint(text()), true),
            (Error::QuotaExceeded(text()), true),
            (Error::IndexUnavailable(text()), true),
            (Error::Quantization(text()), true),
            (Error::Refused(text()), true),
            (Error::InvalidArgument(text()), true),
            (Error::Unsupported(text()), false),
            (
                Error::Backend {
                    message: text(),
                    retryable: true,
                },
                false,
            ),
            (
                Error::Backend {
                    message: text(),
                    retryable: false,
                },
                false,
            ),
            (Error::Embedder(EmbedError::permanent(text())), false),
            (Error::Embedder(EmbedError::transient(text())), false),
            (Error::Embedder(EmbedError::down(text())), false),
            (Error::Limit(mneme::Limit::Time { milliseconds: 1 }), false),
            (Error::Component(text()), false),
        ];
        for (error, is_passed_on) in errors {
            let said = error.to_string();
            let fault = Fault::from(error);
            let shown = serde_json::to_string(&fault).unwrap();
            assert_eq!(shown.contains(MARK), is_passed_on, "{said}: {shown}");
            // What is withheld is not lost.
            let is_logged = fault.log.is_some_and(|log| log.contains(MARK));
            assert_eq!(is_logged, said.contains(MARK) && !is_passed_on, "{said}");
        }
    }

    #[test]
    fn a_vector_of_another_length_is_told_how_many_numbers_belong_there() {
        let fault = Fault::from(Error::EmbedderDimension {
            expected: 4,
            actual: 2,
        });
        assert_eq!(fault.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            fault.error.message,
            "the embedding has 2 numbers, and this cache takes 4; send 4 numbers"
        );
    }

    #[test]
    fn long_texts_keep_their_ends() {
        for text in ["", "abcd", "äöüß"] {
            assert_eq!(excerpt(text, 4), text);
        }
        assert_eq!(excerpt("abXcd", 4), "ab [... 1 bytes left out ...] cd");
        assert_eq!(excerpt("äöüßé", 4), "äö [... 2 bytes left out ...] ßé");
        let long = "é".repeat(1 << 20);
        let fault = Fault::bad_request(format!("what {long} to do"));
        let message = &fault.error.message;
        assert!(message.starts_with("what é") && message.ends_with("é to do"));
        assert!(message.chars().count() < MESSAGE + 50, "{message}");
    }
}
