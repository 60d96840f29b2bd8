//! Parts of requests: a namespace, and a JSON body.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::body::{self, Unread};
use super::fault::Fault;
use super::served::Served;

/// The header that names a namespace.
pub const NAMESPACE: &str = "mneme-namespace";

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace of a request: from its path, else from its header, else `default`. The cache
/// checks it.
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

impl<T: DeserializeOwned> FromRequest<Arc<Served>> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, served: &Arc<Served>) -> Result<Self, Fault> {
        // A web page can send any other content type without asking first (CORS).
        if !is_json(request.headers()) {
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be JSON; send `content-type: application/json`",
            ));
        }
        let read = body::read(request.into_body(), served.max_body);
        let Ok(read) = tokio::time::timeout(PATIENCE, read).await else {
            return Err(Fault::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                format!("the body did not arrive within {} s", PATIENCE.as_secs()),
            ));
        };
        let bytes = read.map_err(|unread| match unread {
            Unread::TooLarge => Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!(
                    "the body has more than {} bytes; see --max-body",
                    served.max_body
                ),
            ),
            Unread::CutOff => Fault::bad_request("the body ended early"),
        })?;
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Fault::bad_request(rejection.body_text())),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
