//! Errors, as responses.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
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
    /// Whether the same request may succeed later without any repair.
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

    /// Something of this machine failed, such as its disk.
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

/// Gives the router's own refusals, of paths and methods that there are not, the same form.
pub async fn as_json(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let is_bare = !response.headers().contains_key(header::CONTENT_TYPE);
    match response.status() {
        StatusCode::NOT_FOUND if is_bare => Fault::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is nothing at {path:?}; /openapi.json says what there is"),
        )
        .into_response(),
        StatusCode::METHOD_NOT_ALLOWED if is_bare => Fault::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{path:?} takes another method, which the header `allow` names"),
        )
        .into_response(),
        _ => response.map(Body::new),
    }
}
