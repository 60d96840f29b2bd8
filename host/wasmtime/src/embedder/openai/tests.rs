use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{OpenAi, OpenAiBuilder};
use crate::embedder::Embedder;
use crate::http::endpoint;

const KEY: &str = "sk-very-secret-0123456789";

/// What the server does with one connection.
enum Reply {
    Status(u16, &'static str, String),
    /// Reads the request and never answers.
    Silence,
}

/// A server that answers one connection after another with these replies, and
/// what it was sent.
struct Server {
    port: u16,
    requests: Receiver<(String, Value)>,
}

impl Server {
    fn new(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut held = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                // Before the reply, after which the test may count at once.
                let _ = sender.send(read_request(&mut stream));
                let Reply::Status(status, headers, body) = reply else {
                    held.push(stream);
                    continue;
                };
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
            }
            // Silent connections stay open until the test has ended.
            if !held.is_empty() {
                let _ = listener.accept();
            }
        });
        Self { port, requests }
    }

    fn builder(&self) -> OpenAiBuilder {
        OpenAi::builder(
            format!("http://user:pass-word@127.0.0.1:{}/v1/", self.port),
            "model-x",
        )
        .api_key(KEY)
        .backoff(Duration::ZERO)
        .timeout(Duration::from_secs(10))
    }

    fn client(&self) -> OpenAi {
        self.builder().dim(2).connect().unwrap()
    }

    fn count(&self) -> usize {
        self.requests.try_iter().count()
    }
}

fn read_request(stream: &mut TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0);
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let mut body = vec![
        0;
        length
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap()
            .parse()
            .unwrap()
    ];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn ok(body: Value) -> Reply {
    Reply::Status(200, "", body.to_string())
}

fn vectors(items: &[(usize, [f32; 2])]) -> Reply {
    let data: Vec<Value> = items
        .iter()
        .map(|(index, embedding)| json!({"object": "embedding", "index": index, "embedding": embedding}))
        .collect();
    ok(json!({"object": "list", "data": data, "model": "model-x"}))
}

fn status(code: u16, headers: &'static str) -> Reply {
    Reply::Status(
        code,
        headers,
        json!({"error": {"message": "out of\n  order"}}).to_string(),
    )
}

/// The error of embedding one text, which must hold no secret.
fn error_of(client: &OpenAi) -> (String, bool) {
    let error = client.embed(&["a"]).unwrap_err();
    assert!(
        !error.message.contains(KEY) && !error.message.contains("pass-word"),
        "{error}"
    );
    assert!(error.message.contains("127.0.0.1"), "{error}");
    (error.message, error.retryable)
}

#[test]
fn a_request_as_the_api_wants_it() {
    let server = Server::new(vec![vectors(&[(0, [1.0, 0.0]), (1, [0.6, 0.8])])]);
    let client = server.client();
    assert_eq!(client.embed(&["a", "b"]).unwrap(), [[1.0, 0.0], [0.6, 0.8]]);
    assert_eq!(client.fingerprint(), "openai:model-x:2");
    let (head, body) = server.requests.recv().unwrap();
    assert!(
        head.starts_with("post /v1/embeddings http/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("authorization: bearer {KEY}\r\n")),
        "{head}"
    );
    assert_eq!(
        body,
        json!({"model": "model-x", "input": ["a", "b"], "encoding_format": "float"})
    );
    assert_eq!(client.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn connect_learns_the_dimension() {
    let server = Server::new(vec![vectors(&[(0, [1.0, 0.0])])]);
    let client = server.builder().connect().unwrap();
    assert_eq!(
        (client.dim(), client.fingerprint()),
        (2, "openai:model-x:2")
    );
}

#[test]
fn shorter_vectors_are_asked_for() {
    let server = Server::new(vec![vectors(&[(0, [1.0, 0.0])])]);
    let client = server
        .builder()
        .shorten_to(2)
        .fingerprint("mine")
        .connect()
        .unwrap();
    assert_eq!(client.fingerprint(), "mine");
    client.embed(&["a"]).unwrap();
    assert_eq!(server.requests.recv().unwrap().1["dimensions"], 2);
}

#[test]
fn batches_keep_the_order() {
    let server = Server::new(vec![
        vectors(&[(1, [0.0, 2.0]), (0, [0.0, 1.0])]),
        vectors(&[(0, [0.0, 3.0])]),
    ]);
    let client = server.builder().dim(2).batch_size(2).connect().unwrap();
    assert_eq!(
        client.embed(&["a", "b", "c"]).unwrap(),
        [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]
    );
}

#[test]
fn an_index_may_be_missing() {
    let server = Server::new(vec![ok(json!({"data": [{"embedding": [1, 2]}]}))]);
    assert_eq!(server.client().embed(&["a"]).unwrap(), [[1.0, 2.0]]);
}

#[test]
fn passing_failures_are_repeated() {
    for code in [408, 429, 500, 503] {
        let server = Server::new(vec![
            status(code, "retry-after: 0\r\n"),
            vectors(&[(0, [1.0, 0.0])]),
        ]);
        let client = server
            .builder()
            .dim(2)
            .backoff(Duration::from_secs(9))
            .connect()
            .unwrap();
        assert_eq!(client.embed(&["a"]).unwrap(), [[1.0, 0.0]], "{code}");
        assert_eq!(server.count(), 2);
    }
}

#[test]
fn repetition_ends() {
    let server = Server::new(vec![status(500, ""), status(502, ""), status(503, "")]);
    let client = server.builder().dim(2).retries(2).connect().unwrap();
    let (message, retryable) = error_of(&client);
    assert!(
        message.contains("answered 503") && message.contains("(out of order)"),
        "{message}"
    );
    assert!(message.ends_with("(3 attempts)") && retryable, "{message}");
}

#[test]
fn a_long_wait_is_refused() {
    let server = Server::new(vec![status(429, "retry-after: 3600\r\n")]);
    let (message, retryable) = error_of(&server.client());
    assert!(message.contains("wait 3600 s") && retryable, "{message}");
}

#[test]
fn other_statuses_are_final() {
    for (code, remedy) in [
        (400, "length"),
        (404, "model's name"),
        (413, "smaller"),
        (307, "moved"),
    ] {
        let server = Server::new(vec![status(code, "location: http://127.0.0.1:1/\r\n")]);
        let (message, retryable) = error_of(&server.client());
        assert!(message.contains(remedy) && !retryable, "{message}");
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn a_refused_key_is_not_repeated_to_anyone() {
    let body = json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}});
    for code in [401, 403] {
        let server = Server::new(vec![Reply::Status(code, "", body.to_string())]);
        let (message, retryable) = error_of(&server.client());
        assert!(
            message.contains("check the API key") && !retryable,
            "{message}"
        );
    }
    let server = Server::new(vec![Reply::Status(400, "", body.to_string())]);
    let client = server.client();
    assert!(error_of(&client).0.contains("[key]"));
    assert!(!format!("{client:?} {:?}", server.builder()).contains("secret"));
    assert!(!format!("{client:?} {:?}", server.builder()).contains("pass-word"));
}

#[test]
fn unusable_answers_are_refused() {
    let cases = [
        (vectors(&[]), "0 vectors for 1 texts"),
        (
            vectors(&[(0, [1.0, 0.0]), (1, [1.0, 0.0])]),
            "2 vectors for 1 texts",
        ),
        (vectors(&[(1, [1.0, 0.0])]), "index 1"),
        (
            ok(json!({"data": [{"index": 0, "embedding": [1, 2, 3]}]})),
            "3 values instead of 2",
        ),
        (
            ok(json!({"data": [{"index": 0, "embedding": "AACAPw=="}]})),
            "not the expected JSON",
        ),
        (
            Reply::Status(200, "", r#"{"data":[{"embedding":[1e39,0]}]}"#.into()),
            "not finite",
        ),
        (
            Reply::Status(200, "", "<html>secret</html>".into()),
            "not the expected JSON",
        ),
        (
            Reply::Status(200, "", String::new()),
            "not the expected JSON",
        ),
    ];
    for (reply, expected) in cases {
        let server = Server::new(vec![reply]);
        let (message, retryable) = error_of(&server.client());
        assert!(message.contains(expected) && !retryable, "{message}");
        assert!(!message.contains("html"), "{message}");
    }
    let server = Server::new(vec![vectors(&[(0, [1.0, 0.0]), (0, [1.0, 0.0])])]);
    let error = server.client().embed(&["a", "b"]).unwrap_err();
    assert!(error.message.contains("repeated"), "{error}");
}

#[test]
fn a_silent_server_times_out() {
    let server = Server::new(vec![Reply::Silence]);
    let client = server
        .builder()
        .dim(2)
        .timeout(Duration::from_millis(80))
        .connect()
        .unwrap();
    let started = Instant::now();
    let (message, retryable) = error_of(&client);
    assert!(
        message.contains("did not answer within 80ms") && retryable,
        "{message}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let client = OpenAi::builder(format!("http://127.0.0.1:{port}/v1"), "m")
        .dim(2)
        .backoff(Duration::ZERO)
        .connect()
        .unwrap();
    let (message, retryable) = error_of(&client);
    assert!(
        message.contains("check that the server is running") && retryable,
        "{message}"
    );
    assert!(message.ends_with("(4 attempts)"), "{message}");
}

#[test]
fn settings_that_cannot_work() {
    let of = |url: &str, model: &str, key: &str| {
        let builder = OpenAi::builder(url, model).api_key(key).dim(2);
        builder.connect().unwrap_err().message
    };
    for url in [
        "",
        "localhost:1/v1",
        "ftp://host/v1",
        "https://",
        "https:///v1?key=secret",
    ] {
        let message = of(url, "m", "k");
        assert!(
            message.contains("base URL") && !message.contains("secret"),
            "{url}: {message}"
        );
    }
    assert!(of("http://h/v1", " ", "k").contains("no name"));
    assert!(!of("http://h/v1", "m", "secret\nkey").contains("secret"));
}

#[test]
fn endpoints() {
    let cases = [
        (
            "https://h/v1",
            "https://h/v1/embeddings",
            "https://h/v1/embeddings",
        ),
        (
            "https://h/v1/",
            "https://h/v1/embeddings",
            "https://h/v1/embeddings",
        ),
        (
            "https://h/v1/embeddings",
            "https://h/v1/embeddings",
            "https://h/v1/embeddings",
        ),
        (
            "http://h:1",
            "http://h:1/embeddings",
            "http://h:1/embeddings",
        ),
        (
            "https://u:p@h/v1?key=s",
            "https://u:p@h/v1/embeddings?key=s",
            "https://h/v1/embeddings",
        ),
    ];
    for (base, url, shown) in cases {
        assert_eq!(
            endpoint(base, "/embeddings").unwrap(),
            (url.to_owned(), shown.to_owned())
        );
    }
}

#[test]
fn texts_that_the_model_may_have_cut_are_told() {
    let counted = |tokens: Value| {
        let data = json!([{"index": 0, "embedding": [1.0, 0.0]}]);
        ok(json!({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
    };
    let server = Server::new(vec![
        vectors(&[(0, [1.0, 0.0]), (1, [1.0, 0.0])]),
        counted(json!(19)),
        counted(json!(20)),
        counted(json!(64)),
        counted(json!("many")),
        vectors(&[(0, [1.0, 0.0])]),
    ]);
    let client = server.builder().dim(2).max_tokens(20).connect().unwrap();
    let long = "sixteen letters!";
    let texts = ["short", "eleven byte", long, long, long, long, "short"];
    let embeddings = client.read(&texts).unwrap();
    let readings: Vec<_> = embeddings
        .iter()
        .map(|it| it.reading.map(|it| (it.tokens, it.tokens_read)))
        .collect();
    let cut = Some((21, 20));
    assert_eq!(
        readings,
        [None, None, Some((19, 19)), cut, Some((64, 20)), cut, None]
    );
    let sent: Vec<usize> = server
        .requests
        .try_iter()
        .map(|(_, body)| body["input"].as_array().unwrap().len())
        .collect();
    assert_eq!(sent, [2, 1, 1, 1, 1, 1]);
}
