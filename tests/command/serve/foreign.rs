//! Requests that a web page of another origin could send, on every route.

use serde_json::Value;

use super::{Server, TOKEN, put, reply};
use crate::Folder;

/// Every method and path.
fn routes(server: &Server) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&server.text("/openapi.json")).unwrap();
    let mut routes = vec![("GET".to_owned(), "/openapi.json".to_owned())];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{namespace}", "default");
            routes.push((method.to_uppercase(), path));
        }
    }
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let mut request = server.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = server
        .agent
        .run(request.body(body.to_owned()).unwrap())
        .unwrap();
    let headers = response.headers();
    assert_eq!(
        headers["cross-origin-resource-policy"], "same-origin",
        "{method} {path}"
    );
    assert_eq!(
        headers["x-content-type-options"], "nosniff",
        "{method} {path}"
    );
    assert!(
        !headers.contains_key("access-control-allow-origin"),
        "{method} {path}"
    );
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    assert!(status == 200 || !text.contains("a secret answer"), "{text}");
    status
}

#[test]
fn no_route_serves_a_page_of_another_origin() {
    for token in [None, Some(TOKEN)] {
        let folder = Folder::new();
        let server = Server::with(&folder, &[], token);
        server
            .post("/v1/put", &put("a secret", [1.0, 0.0, 0.0]))
            .ok();
        let archive = server.dump("");
        let before = server.ask("GET", "/v1/stats").ok();
        let own = server.url.clone();
        let other_port = "http://localhost:1";
        let foreign: [&[(&str, &str)]; 10] = [
            &[("origin", "http://evil.test")],
            &[("origin", "null")],
            &[("origin", other_port)],
            &[("origin", "https://localhost.evil.test")],
            &[("origin", "not an origin")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "whatever comes next")],
            &[("origin", &own), ("sec-fetch-site", "cross-site")],
            &[("origin", &own), ("origin", "http://evil.test")],
        ];
        for (method, path) in routes(&server) {
            for headers in foreign {
                for kind in ["application/json", "text/plain", "application/octet-stream"] {
                    let headers = [headers, &[("content-type", kind)]].concat();
                    let body = if path == "/v1/load" { "x" } else { "{}" };
                    let status = ask(&server, &method, &path, &headers, body);
                    let twice = headers.iter().filter(|(name, _)| *name == "origin").count() > 1;
                    let expected = if twice { 400 } else { 403 };
                    assert_eq!(status, expected, "{method} {path} {headers:?}");
                }
            }
            // What a page can send without asking first is no POST that anything takes.
            for kind in [
                None,
                Some("text/plain"),
                Some("TEXT/plain;charset=utf-8"),
                Some("multipart/form-data; boundary=x"),
                Some("application/x-www-form-urlencoded"),
                Some(""),
            ] {
                if method == "POST" {
                    let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
                    let body = String::from_utf8_lossy(&archive);
                    assert_eq!(
                        ask(
                            &server,
                            "POST",
                            &format!("{path}?mode=replace"),
                            &headers,
                            &body
                        ),
                        415,
                        "{path} {kind:?}"
                    );
                }
            }
            // The question before a request of another kind is not answered with yes.
            let asks = [
                ("origin", "http://evil.test"),
                ("access-control-request-method", &*method),
            ];
            assert_eq!(ask(&server, "OPTIONS", &path, &asks, ""), 403, "{path}");
        }
        assert_eq!(
            server.ask("GET", "/v1/stats").ok(),
            before,
            "nothing has changed"
        );
        let question = serde_json::json!({"query": "a secret"});
        let kept = server.post("/v1/get", &question).ok();
        assert_eq!(kept["response"], "answer to a secret");

        // A program, a user who types the address, and a page of the same origin are served.
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin")],
            &[("origin", &*own), ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(
                ask(&server, "GET", "/v1/stats", headers, ""),
                200,
                "{headers:?}"
            );
        }
        assert!(server.stop());
    }
}

#[test]
fn what_is_said_twice_is_refused() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let json = ("content-type", "application/json");
    let twice: [&[(&str, &str)]; 5] = [
        &[json, ("mneme-namespace", "a"), ("mneme-namespace", "b")],
        &[json, ("mneme-namespace", "a"), ("mneme-namespace", "a")],
        &[json, json],
        &[
            json,
            ("authorization", "Bearer x"),
            ("authorization", "Bearer y"),
        ],
        &[json, ("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
    ];
    let body = put("q", [1.0, 0.0, 0.0]).to_string();
    for headers in twice {
        assert_eq!(
            ask(&server, "POST", "/v1/put", headers, &body),
            400,
            "{headers:?}"
        );
    }
    // The path names one already, or the route is about all of them.
    let named = [json, ("mneme-namespace", "a")];
    assert_eq!(
        ask(&server, "POST", "/v1/namespaces/b/put", &named, &body),
        400
    );
    for (method, path) in [
        ("GET", "/v1/dump"),
        ("GET", "/v1/namespaces"),
        ("GET", "/v1/health"),
        ("DELETE", "/v1/namespaces/b"),
    ] {
        assert_eq!(ask(&server, method, path, &named, ""), 400, "{path}");
    }
    let archive = [
        ("content-type", "application/octet-stream"),
        ("mneme-namespace", "a"),
    ];
    assert_eq!(ask(&server, "POST", "/v1/load", &archive, "x"), 400);
    assert_eq!(
        ask(&server, "POST", "/v1/put?namespace=a", &[json], &body),
        400
    );
    assert_eq!(
        ask(&server, "GET", "/v1/dump?level=1&level=2", &[], ""),
        400
    );
    let field = r#"{"query":"q","query":"p","response":"r","embedding":[1,0,0]}"#;
    assert_eq!(ask(&server, "POST", "/v1/put", &[json], field), 400);

    for (kind, status) in [
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=\"iso-8859-1\"", 415),
        ("application/json; charset", 415),
        ("application/octet-stream", 415),
        ("application/json;charset=UTF-8", 200),
        ("Application/JSON ; charset=\"utf-8\"; x=y", 200),
    ] {
        let kind = [("content-type", kind)];
        assert_eq!(
            ask(&server, "POST", "/v1/put", &kind, &body),
            status,
            "{kind:?}"
        );
    }
    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], 1);
    assert!(server.stop());
}

#[test]
fn http_2_is_served_without_a_token_on_this_machine_only() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    for (authority, status) in [
        (server.url.strip_prefix("http://").unwrap(), 200),
        ("evil.test", 403),
    ] {
        assert_eq!(
            http2::get(&server, authority, "/v1/stats"),
            status,
            "{authority}"
        );
    }
    // The target of HTTP/1 may name an authority too, which the header contradicts.
    for (target, host, status) in [
        ("http://localhost/v1/stats", "localhost", 200),
        ("http://evil.test/v1/stats", "localhost", 403),
        ("http://localhost/v1/stats", "evil.test", 403),
        ("/v1/stats", "evil@localhost", 403),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = super::all_of(&mut server.say(&text));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{target} {host}: {answer}"
        );
    }
    let both =
        "GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nhost: evil.test\r\nconnection: close\r\n\r\n";
    let answer = super::all_of(&mut server.say(both));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(reply(server.agent.get(format!("{}/livez", server.url)).call()).ok()["live"] == true);
    assert!(server.stop());
}

#[test]
fn a_page_that_leads_its_name_here_is_refused_without_a_token_too() {
    let folder = Folder::new();
    let args = ["--without-token", "--allow-host", "cache.test"];
    let server = Server::start(&folder, &args);
    let secret = put("a secret", [1.0, 0.0, 0.0]);
    server.post("/v1/put", &secret).ok();
    let own = server.url.strip_prefix("http://").unwrap();
    // As a page of that name asks, once its name leads here.
    let pages = [
        ("evil.test", 403),
        ("evil.test:7420", 403),
        ("localhost.evil.test", 403),
        ("sub.cache.test", 403),
        ("cache.test", 200),
        ("CACHE.TEST:80", 200),
        ("localhost", 200),
        ("192.0.2.1:7420", 200),
        ("[2001:db8::1]", 200),
        (own, 200),
    ];
    for (name, status) in pages {
        for origin in ["", &*format!("origin: http://{name}\r\n")] {
            let text = format!(
                "GET /v1/stats HTTP/1.1\r\nhost: {name}\r\n{origin}connection: close\r\n\r\n"
            );
            let answer = super::all_of(&mut server.say(&text));
            let is_as_wanted = answer.starts_with(&format!("HTTP/1.1 {status}"));
            assert!(is_as_wanted, "{name}: {answer}");
            let says_how = answer.contains("--allow-host NAME");
            assert_eq!(says_how, status == 403, "{name}: {answer}");
        }
        assert_eq!(http2::get(&server, name, "/v1/stats"), status, "{name}");
    }
    // Every route, also those that a token would leave open.
    for (method, path) in routes(&server) {
        let headers = [
            ("host", "evil.test"),
            ("origin", "http://evil.test"),
            ("content-type", "application/json"),
        ];
        let status = ask(&server, &method, &path, &headers, "{}");
        assert_eq!(status, 403, "{method} {path}");
    }
    let question = serde_json::json!({"query": "a secret"});
    let kept = server.post("/v1/get", &question).ok();
    assert_eq!(kept["response"], "answer to a secret");
    assert!(server.stop());
}

/// The little of HTTP/2 that a request without a body takes.
mod http2 {
    use std::io::{Read, Write};

    use super::Server;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM_AND_HEADERS: u8 = 5;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    }

    /// A header by the index of its name, and a value, not compressed.
    fn header(index: u8, value: &str) -> Vec<u8> {
        [
            &[index, u8::try_from(value.len()).unwrap()],
            value.as_bytes(),
        ]
        .concat()
    }

    /// The status of a GET.
    pub fn get(server: &Server, authority: &str, path: &str) -> u16 {
        // :method GET and :scheme http are entries 2 and 6 of the table.
        let block = [
            vec![0x82, 0x86],
            header(0x01, authority),
            header(0x04, path),
        ]
        .concat();
        let request = [
            PREFACE.to_vec(),
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block),
        ]
        .concat();
        let mut stream = server.connect();
        stream.write_all(&request).unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).unwrap();
            if head[3] == HEADERS {
                // :status 200 is entry 8; another is written as a value of entry 8.
                return match payload.as_slice() {
                    [0x88, ..] => 200,
                    [0x48, 0x82 | 0x83, huffman @ ..] => status(huffman),
                    [0x48, 0x03, digits @ ..] => {
                        std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap()
                    }
                    other => panic!("{other:x?}"),
                };
            }
        }
    }

    /// Three digits in the code of HTTP/2: 5 bits for 0, 1 and 2, else 6.
    fn status(code: &[u8]) -> u16 {
        let bits = u32::from_be_bytes([code[0], code[1], code[2], 0]);
        let (mut at, mut number) = (0, 0);
        for _ in 0..3 {
            let five = bits << at >> 27;
            let digit = match five {
                0..=2 => {
                    at += 5;
                    five
                }
                _ => {
                    let six = bits << at >> 26;
                    at += 6;
                    six - 0x19 + 3
                }
            };
            number = number * 10 + digit;
        }
        u16::try_from(number).unwrap()
    }
}
