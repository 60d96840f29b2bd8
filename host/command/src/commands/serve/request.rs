//! Parts of requests: a namespace, parameters, and a JSON body.

use std::sync::Arc;

use axum::Json;
use axum::body::HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::body::{self, Unread};
use super::fault::{self, Fault};
use super::served::Served;

/// The header that names a namespace.
pub const NAMESPACE: &str = "mneme-namespace";

/// The content types of archives.
const ARCHIVES: [&str; 6] = [
    "application/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/tar",
    "application/x-tar",
];

/// The value of a header, which may be there once: two that differ would mean one thing here and
/// another in a proxy.
pub fn once(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, Fault> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Fault::bad_request(format!(
            "the header {name} is there more than once; send it once"
        ))),
    }
}

/// The media type of the body, without parameters. The charset can only be UTF-8.
pub fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(value) = once(headers, header::CONTENT_TYPE)? else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Fault::bad_request("the header content-type is not ASCII"))?;
    let mut parts = text.split(';');
    let kind = parts.next().map(str::trim);
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8"]
                .iter()
                .any(|utf8| value.eq_ignore_ascii_case(utf8))
        {
            return Err(unsupported(
                "the body must be UTF-8; encode it so, and send `content-type: application/json`",
            ));
        }
    }
    Ok(kind)
}

/// Refuses a body that is not said to be an archive.
pub fn check_archive(headers: &HeaderMap) -> Result<(), Fault> {
    let is_archive = content_type(headers)?.is_some_and(|kind| {
        ARCHIVES
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    });
    match is_archive {
        true => Ok(()),
        false => Err(unsupported(
            "the body must be an archive; send `content-type: application/octet-stream`",
        )),
    }
}

/// Refuses a body that is encoded, such as compressed: it would be taken for something else.
pub fn check_codings(request: &Request) -> Result<(), Fault> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    let media = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    let transfer = (StatusCode::NOT_IMPLEMENTED, "unsupported");
    for (name, plain, (status, kind)) in [
        (header::CONTENT_ENCODING, "identity", media),
        (header::TRANSFER_ENCODING, "chunked", transfer),
    ] {
        for value in request.headers().get_all(&name) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let mut codings = value.split(',').map(str::trim);
            if !codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(plain)) {
                return Err(Fault::new(
                    status,
                    kind,
                    format!(
                        "the header {name} is {value:?}, and the server decodes no body; send the body as it is, without this header"
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn unsupported(message: &str) -> Fault {
    Fault::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        message,
    )
}

/// All namespaces: the request may not name one.
pub struct AllNamespaces;

impl<S: Send + Sync> FromRequestParts<S> for AllNamespaces {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        match parts.headers.contains_key(NAMESPACE) {
            false => Ok(Self),
            true => Err(Fault::bad_request(format!(
                "{} is about all namespaces; omit the header Mneme-Namespace",
                parts.uri.path()
            ))),
        }
    }
}

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
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Fault::bad_request(
            "this path takes no parameters after a `?`; the namespace belongs into the path or the header",
        ));
    }
    let in_header = match once(&parts.headers, HeaderName::from_static(NAMESPACE))? {
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

/// A body of JSON, and its part of the room for all bodies, which is for the time of the request.
pub struct Body<T>(
    pub T,
    #[expect(dead_code, reason = "its drop gives the room back")] pub OwnedSemaphorePermit,
);

impl<T: DeserializeOwned> FromRequest<Arc<Served>> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, served: &Arc<Served>) -> Result<Self, Fault> {
        let kind = content_type(request.headers())?;
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Err(unsupported(
                "the body must be JSON; send `content-type: application/json`",
            ));
        }
        let most = served.limits.body;
        let read = body::read(request.into_body(), most, &served.limits.bodies).await;
        let (bytes, taken) = read.map_err(|unread| match unread {
            Unread::TooLarge => Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body has more than {most} bytes; see --max-body"),
            ),
            Unread::TooSlow => Fault::slow_body(),
            Unread::NoRoom => Fault::busy(
                "the bodies of other requests take all the room for bodies; try again later, or see --max-bodies",
            ),
            Unread::CutOff => Fault::bad_request("the body ended early"),
        })?;
        // A list would be taken for the fields in their order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Fault::bad_request("the body is a list; send a JSON object"));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(body)) => Ok(Self(body, taken)),
            // It may repeat much of the body.
            Err(rejection) => {
                let text = rejection.body_text();
                let text = fault::excerpt(&text, fault::MESSAGE / 2);
                Err(Fault::bad_request(plainly("the body", &text)))
            }
        }
    }
}

/// The parameters after the `?` of a request.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            // It may repeat much of them.
            Err(rejection) => {
                let text = rejection.body_text();
                let text = fault::excerpt(&text, fault::MESSAGE / 2);
                Err(Fault::bad_request(plainly("the parameters after ?", &text)))
            }
        }
    }
}

/// What is wrong with a part of a request, in words that are not those of a Rust program.
fn plainly(part: &str, text: &str) -> String {
    let what = ["target type: ", "query string: "]
        .iter()
        .find_map(|lead| text.split_once(lead))
        .map_or(text, |(_, what)| what);
    let mut what = what.replace("`", "");
    if let Some((before, name)) = what.split_once("duplicate field ") {
        what = format!("{before}{name} is given more than once; give it once");
    }
    for (kind, meaning) in [
        ("expected u64", "expected a whole number from 0"),
        ("expected u32", "expected a whole number from 0"),
        ("expected i64", "expected a whole number"),
        ("expected f32", "expected a number"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ] {
        what = what.replace(kind, meaning);
    }
    format!("{part}: {what}; GET /openapi.json says what belongs there")
}
