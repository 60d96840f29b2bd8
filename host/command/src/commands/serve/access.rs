//! Access control.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::fault::Fault;
use super::foreign;
use super::request::{check_codings, once};
use crate::args::Serve;

/// The paths that need no token.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/health", "/openapi.json"];

/// What a request must carry.
pub enum Access {
    /// This token.
    Token(String),
    /// An authority that names this machine, or is one of these names. That keeps out web pages,
    /// which can send requests here under another name (DNS rebinding).
    Local(Vec<String>),
    /// An authority that is an IP address, `localhost` or one of these names: no name that a web
    /// page could have led here.
    Anybody(Vec<String>),
}

impl Access {
    pub fn new(args: &Serve) -> Result<Self> {
        if let Some(token) = token(args)? {
            return Ok(Self::Token(token));
        }
        match (args.listen.ip().is_loopback(), args.without_token) {
            (true, false) => Ok(Self::Local(args.allow_host.clone())),
            (_, true) => Ok(Self::Anybody(args.allow_host.clone())),
            (false, false) => bail!(
                "serve: {} can be reached from other machines, and no token is set; set $MNEME_TOKEN or --token-file, or allow everything to everybody with --without-token",
                args.listen
            ),
        }
    }

    /// Whether the request has what it must carry.
    pub fn allows(&self, request: &Request) -> bool {
        match self {
            Self::Anybody(names) => all_hosts(request, |host| {
                address(host).is_some() || is_local(host) || is_among(names, host)
            }),
            Self::Local(names) => {
                all_hosts(request, |host| is_local(host) || is_among(names, host))
            }
            Self::Token(token) => bearer(request.headers())
                .is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes()))),
        }
    }
}

/// What is read of the file of a token.
const MAX_TOKEN_FILE: u64 = 64 << 10;

fn token(args: &Serve) -> Result<Option<String>> {
    let (text, from) = match &args.token_file {
        Some(path) => {
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut text))
                .with_context(|| format!("serve: --token-file: cannot read {path:?}"))?;
            (text, format!("{path:?}"))
        }
        None => match std::env::var("MNEME_TOKEN") {
            Ok(text) if !text.is_empty() => (text, "$MNEME_TOKEN".to_owned()),
            _ => return Ok(None),
        },
    };
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!(
            "serve: the token in {from} must be 16 or more printable ASCII characters without spaces; `openssl rand -hex 32` makes one"
        );
    }
    Ok(Some(token.to_owned()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// Whether a request names hosts, and all of them are of this kind.
fn all_hosts(request: &Request, is_so: impl Fn(&str) -> bool) -> bool {
    let is_so = |name: Option<Authority>| name.is_some_and(|name| is_so(name.host()));
    let mut names = foreign::authorities(request);
    names.next().is_some_and(&is_so) && names.all(is_so)
}

/// The address that a host is, unless it is a name.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// Whether a host is only this machine.
fn is_local(host: &str) -> bool {
    let is_loopback = address(host).is_some_and(|address| address.is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

fn is_among(names: &[String], host: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// In the extensions of a response: its request had what it must carry.
#[derive(Clone)]
pub struct Known;

/// Lets in what may come in, whatever its route is.
pub async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let is_known = access.allows(&request);
    let mut response = match admit(&access, &request, is_known) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    if is_known {
        response.extensions_mut().insert(Known);
    }
    foreign::protect(&mut response);
    response
}

fn admit(access: &Access, request: &Request, is_known: bool) -> Result<(), Fault> {
    once(request.headers(), header::HOST)?;
    once(request.headers(), header::AUTHORIZATION)?;
    foreign::refuse(request)?;
    let is_open = OPEN.contains(&request.uri().path());
    match access {
        _ if is_known => check_codings(request),
        Access::Token(_) if is_open => check_codings(request),
        Access::Token(_) => Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the request has no valid token; send `authorization: Bearer TOKEN`",
        )),
        Access::Local(_) => Err(Fault::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without a token, the server answers only requests to localhost; use localhost in the URL, or start the server with a token or with --allow-host NAME",
        )),
        Access::Anybody(_) => Err(Fault::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without a token, the server answers only to localhost, to IP addresses and to names it was told; use its IP address in the URL, or start it with --allow-host NAME or with a token",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.test",
            "evil.test",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1.evil",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn anybody_may_use_addresses_and_names_that_were_told() {
        let names = vec!["cache.test".to_owned()];
        let (anybody, local) = (Access::Anybody(names.clone()), Access::Local(names));
        for (host, by_anybody, on_this_machine) in [
            ("10.0.0.1:7420", true, false),
            ("[2001:db8::1]:7420", true, false),
            ("localhost:7420", true, true),
            ("CACHE.test", true, true),
            ("evil.test", false, false),
            ("sub.cache.test", false, false),
            ("10.0.0.1.evil.test", false, false),
            ("x@10.0.0.1", false, false),
        ] {
            let request = Request::builder().header(header::HOST, host);
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(anybody.allows(&request), by_anybody, "{host}");
            assert_eq!(local.allows(&request), on_this_machine, "{host}");
        }
        assert!(!anybody.allows(&Request::default()));
    }

    #[test]
    fn tokens_are_compared_whole() {
        let access = Access::Token("0123456789abcdef".into());
        let allows = |value: &str| {
            let request = Request::builder().header(header::AUTHORIZATION, value);
            access.allows(&request.body(Body::empty()).unwrap())
        };
        assert!(allows("Bearer 0123456789abcdef") && allows("bearer  0123456789abcdef"));
        for wrong in [
            "0123456789abcdef",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdeF",
        ] {
            assert!(!allows(wrong), "{wrong}");
        }
        assert!(!access.allows(&Request::default()));
    }
}
