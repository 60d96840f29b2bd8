//! What embedders and verifiers behind HTTP have in common.

use std::time::Duration;

use ureq::Agent;

/// An agent that repeats and follows nothing, and whose requests have a time limit.
pub(crate) fn agent(timeout: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .user_agent(concat!("mneme/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Where to send requests, and the same without user, password and query string. `path` is what the
/// API adds to its base URL, if that does not end with it.
pub(crate) fn endpoint(base_url: &str, path: &str) -> Option<(String, String)> {
    let base_url = base_url.trim();
    let (base, query) = match base_url.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (base_url, String::new()),
    };
    let (scheme, rest) = base.split_once("://").filter(|(scheme, rest)| {
        ["http", "https"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
            && !matches!(rest.chars().next(), None | Some('/' | ':'))
    })?;
    let (authority, place) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let place = match path {
        "" => place,
        path => place.trim_end_matches('/').trim_end_matches(path),
    };
    Some((
        format!("{scheme}://{authority}{place}{path}{query}"),
        format!("{scheme}://{host}{place}{path}"),
    ))
}

/// A key without white space around it; none if it is empty. The error says what is wrong with it.
pub(crate) fn key(given: Option<String>) -> Result<Option<String>, &'static str> {
    let key = given.map(|key| key.trim().to_owned());
    let key = key.filter(|key| !key.is_empty());
    match &key {
        Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => Err(
            "the API key holds characters that no key has, such as a line break; pass the key alone",
        ),
        _ => Ok(key),
    }
}

/// A request that got no answer.
pub(crate) struct Unanswered {
    /// What happened and what to do, without the URL's secrets.
    pub message: String,
    pub kind: Why,
}

/// Whether a request that got no answer may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may at once.
    Again,
    /// It took too long: later.
    Late,
    /// Something must be repaired.
    Broken,
}

/// Why a request got no answer from the server that is `shown`, which speaks `api`.
pub(crate) fn unanswered(
    error: ureq::Error,
    shown: &str,
    api: &str,
    timeout: Duration,
) -> Unanswered {
    use std::io::ErrorKind;
    let (kind, message) = match error {
        ureq::Error::Timeout(_) => (
            Why::Late,
            format!(
                "{shown} did not answer within {timeout:?}; check the server, or raise the timeout"
            ),
        ),
        ureq::Error::HostNotFound => (
            Why::Again,
            format!("the host of {shown} was not found; check the base URL and the network"),
        ),
        ureq::Error::ConnectionFailed => (
            Why::Again,
            format!(
                "no connection to {shown}; check that the server is running and the base URL is right"
            ),
        ),
        ureq::Error::Io(error) => (
            match error.kind() {
                ErrorKind::InvalidInput => Why::Broken,
                _ => Why::Again,
            },
            format!(
                "the connection to {shown} failed ({}); check that the server is running and the base URL is right",
                error.kind()
            ),
        ),
        ureq::Error::BodyExceedsLimit(limit) => (
            Why::Broken,
            format!("the answer of {shown} is longer than {limit} bytes; is it {api}?"),
        ),
        // Only kinds are named: the texts of these errors may quote the URL.
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => (
            Why::Broken,
            format!(
                "no secure connection to {shown}; check its certificate, or whether it speaks plain http"
            ),
        ),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => (
            Why::Broken,
            format!("{shown} is not a valid URL; correct the base URL"),
        ),
        _ => (
            Why::Broken,
            format!("{shown} does not speak HTTP as expected; check the base URL"),
        ),
    };
    Unanswered { message, kind }
}

/// The message in an error's body, on one line, shortened, without the key.
pub(crate) fn reason(body: &[u8], key: Option<&str>) -> String {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    let places = ["/error/message", "/error", "/message", "/detail"];
    let text = places
        .iter()
        .find_map(|place| json.pointer(place)?.as_str())
        .unwrap_or("");
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.retain(|character| !character.is_control());
    if let Some(key) = key {
        text = text.replace(key, "[key]");
    }
    text.truncate(text.floor_char_boundary(200));
    if text.is_empty() {
        text
    } else {
        format!(" ({text})")
    }
}
