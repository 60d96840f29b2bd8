//! What requests bring along: a namespace, and a JSON body.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// The header that names a namespace.
pub const NAMESPACE: &str = "mneme-namespace";

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace of a request: that of its path, or else of its header, or else `default`.
/// Whether it is one is the cache's to judge.
pub struct Namespace(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Namespace {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match named(parts, state).await? {
            Some(name) => Ok(Self(name)),
            None => Ok(Self(mneme::DEFAULT_NAMESPACE.to_owned())),
        }
    }
}

/// The namespace of a request, if it names one.
pub struct NamedNamespace(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for NamedNamespace {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        named(parts, state).await.map(Self)
    }
}

async fn named<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Option<String>, Fault> {
    let in_header = match parts.headers.get(NAMESPACE) {
        None => None,
        Some(value) => Some(
            std::str::from_utf8(value.as_bytes())
                .map_err(|_| Fault::bad_request("the header Mneme-Namespace is not UTF-8"))?
                .to_owned(),
        ),
    };
    let path = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Fault::bad_request("the namespace in the path is not UTF-8"))?;
    let in_path = path.iter().find(|(name, _)| *name == "namespace");
    match (in_path, in_header) {
        (Some((_, path)), Some(header)) if path != header => Err(Fault::bad_request(
            "path and header name different namespaces; name it once",
        )),
        (Some((_, path)), _) => Ok(Some(path.to_owned())),
        (None, header) => Ok(header),
    }
}

/// A body of JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let read = Json::<T>::from_request(request, state);
        let read = tokio::time::timeout(PATIENCE, read).await;
        let Ok(read) = read else {
            return Err(Fault::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                format!("the body did not arrive within {} s", PATIENCE.as_secs()),
            ));
        };
        read.map(|Json(body)| Self(body)).map_err(|rejection| {
            let (status, kind) = match &rejection {
                JsonRejection::MissingJsonContentType(_) => {
                    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
                }
                rejection if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                    (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
                }
                _ => (StatusCode::BAD_REQUEST, "invalid_argument"),
            };
            Fault::new(status, kind, rejection.body_text())
        })
    }
}
