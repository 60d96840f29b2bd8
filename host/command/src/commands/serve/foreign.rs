//! What keeps web pages of other origins out. A browser sends their requests with the user's
//! reach: to localhost, and into the user's network.

use axum::extract::Request;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::fault::Fault;
use super::request::{content_type, once};

const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses requests that a page of another origin has made, and those that such a page could
/// make without asking the server first (CORS).
pub fn refuse(request: &Request) -> Result<(), Fault> {
    let headers = request.headers();
    let origin = once(headers, header::ORIGIN)?;
    let site = once(headers, header::HeaderName::from_static(FETCH_SITE))?;
    let is_ours = origin.is_none_or(|origin| is_own(origin, authorities(request)))
        && site.is_none_or(|site| ["none", "same-origin"].iter().any(|ours| site == ours));
    if !is_ours {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "the request comes from a web page of another origin, and those are refused; send it from a program, without `Origin` and `Sec-Fetch-Site`",
        ));
    }
    // Browsers send other methods, and other content types, only after they have asked.
    if request.method() == Method::POST && is_simple(headers)? {
        return Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "a POST needs a content type; send `content-type: application/json`, or `application/octet-stream` for an archive",
        ));
    }
    Ok(())
}

/// What a request takes this server for: in the target, in the header, or both.
pub fn authorities(request: &Request) -> impl Iterator<Item = Option<Authority>> {
    let of_header = request
        .headers()
        .get(header::HOST)
        .map(|host| Authority::try_from(host.as_bytes()).ok());
    let of_target = request.uri().authority().cloned().map(Some);
    let both = of_target.into_iter().chain(of_header);
    both.map(|name| name.filter(|name| !name.as_str().contains('@')))
}

/// Whether this is the origin of a page that the server itself has served.
fn is_own(origin: &HeaderValue, mut authorities: impl Iterator<Item = Option<Authority>>) -> bool {
    let Ok(origin) = Uri::try_from(origin.as_bytes()) else {
        return false;
    };
    let (Some(scheme), Some(own)) = (origin.scheme_str(), origin.authority()) else {
        return false;
    };
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let is_same = |authority: Option<Authority>| {
        authority.is_some_and(|other| {
            other.host().eq_ignore_ascii_case(own.host())
                && other.port_u16().unwrap_or(port) == own.port_u16().unwrap_or(port)
        })
    };
    authorities.next().is_some_and(is_same) && authorities.all(is_same)
}

/// Whether any page may send this content type unasked.
fn is_simple(headers: &HeaderMap) -> Result<bool, Fault> {
    const SIMPLE: [&str; 3] = [
        "text/plain",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ];
    let kind = content_type(headers)?;
    Ok(kind.is_none_or(|kind| {
        !kind.contains('/')
            || SIMPLE
                .iter()
                .any(|simple| kind.eq_ignore_ascii_case(simple))
    }))
}

/// Keeps other origins' pages from embedding what is answered, and everybody from keeping it.
pub fn protect(response: &mut Response) {
    const HEADERS: [(&str, &str); 5] = [
        ("cross-origin-resource-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("content-security-policy", "default-src 'none'"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(origin: &str, host: &str) -> bool {
        let origin = HeaderValue::from_str(origin).unwrap();
        is_own(&origin, [Authority::try_from(host).ok()].into_iter())
    }

    #[test]
    fn origins() {
        for (origin, host) in [
            ("http://localhost:7420", "localhost:7420"),
            ("http://LOCALHOST:7420", "localhost:7420"),
            ("http://cache.test", "cache.test:80"),
            ("https://cache.test", "cache.test"),
            ("https://[::1]:7", "[::1]:7"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "localhost:7420"),
            ("", "localhost:7420"),
            ("localhost:7420", "localhost:7420"),
            ("http://localhost:7421", "localhost:7420"),
            ("http://localhost", "localhost:7420"),
            ("http://127.0.0.1:7420", "localhost:7420"),
            ("http://evil.test", "localhost:7420"),
            ("file://localhost:7420", "localhost:7420"),
            ("http://localhost:7420", ""),
            ("http://localhost.evil.test:7420", "localhost:7420"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }
}
