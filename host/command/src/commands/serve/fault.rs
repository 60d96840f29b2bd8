//! Errors, as responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mneme::Error;
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    #[serde(skip)]
    status: StatusCode,
    error: Reason,
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

impl Fault {
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error: Reason {
                kind,
                message: message.into(),
                retryable: false,
            },
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// Something on this machine failed, such as its disk.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "io", message)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let retryable = error.is_retryable();
        let status = match &error {
            Error::InvalidArgument(_) | Error::EmbedderDimension { .. } => StatusCode::BAD_REQUEST,
            Error::QuotaExceeded(_) => StatusCode::CONFLICT,
            Error::Checkpoint(_) | Error::EmbedderMismatch { .. } | Error::Quantization(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::Embedder(_) => StatusCode::BAD_GATEWAY,
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Closed | Error::IndexUnavailable(_) | Error::Limit(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ if retryable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut fault = Self::new(status, error.kind(), error.to_string());
        fault.error.retryable = retryable || matches!(error, Error::Closed);
        fault
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
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
