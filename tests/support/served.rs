//! `mneme serve`, run as a process and asked over HTTP.

use crate::command::{Folder, VECTORS, program};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Response;

/// How long what must happen is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A token for servers that want one.
pub const TOKEN: &str = "a-token-that-nobody-guesses";

/// The type of a body of JSON.
pub const JSON: &str = "application/json";
/// The type of a body that is an archive.
pub const ARCHIVE: &str = "application/octet-stream";

/// A server on a cache of three-dimensional vectors.
pub struct Server {
    /// Its process.
    pub child: Child,
    /// Where it listens, such as `http://127.0.0.1:7420`.
    pub url: String,
    /// What asks it.
    pub agent: Agent,
    /// What its requests carry.
    pub token: Option<&'static str>,
}

/// What a request brought.
#[derive(Debug)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub json: Value,
}

impl Server {
    /// Starts a server in a folder, with more arguments.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn start(folder: &Folder, args: &[&str]) -> Self {
        Self::with(folder, args, None)
    }

    /// Starts a server that wants a token, if there is one.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn with(folder: &Folder, args: &[&str], token: Option<&'static str>) -> Self {
        let command = Command::new(program());
        Self::run(command, folder, args, token)
    }

    /// Starts a server by a command that runs `mneme` with the arguments that are added.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn run(
        mut command: Command,
        folder: &Folder,
        args: &[&str],
        token: Option<&'static str>,
    ) -> Self {
        if command.get_envs().all(|(name, _)| name != "MNEME_EMBEDDER") {
            command.env("MNEME_EMBEDDER", VECTORS);
        }
        command
            .current_dir(folder.0.path())
            .env_remove("MNEME_STORE")
            .env_remove("MNEME_TOKEN")
            .env("TMPDIR", folder.0.path())
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("MNEME_TOKEN", token);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            url: told["listening"].as_str().unwrap().to_owned(),
            agent: agent(),
            token,
        }
    }

    /// A connection that nothing is sent on yet.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection on which this was sent.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn say(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// A connection on which the head of a POST was sent, whose body has so many bytes. `more` are
    /// more lines, each with its end.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn begin(&self, path: &str, kind: &str, bytes: usize, more: &str) -> TcpStream {
        let token = self.token.map_or_else(String::new, |token| {
            format!("authorization: Bearer {token}\r\n")
        });
        self.say(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{token}{more}content-type: {kind}\r\ncontent-length: {bytes}\r\n\r\n"
        ))
    }

    /// The same, when the server waits for the body.
    ///
    /// # Panics
    ///
    /// If it does not ask for the body.
    pub fn begun(&self, path: &str, kind: &str, bytes: usize) -> TcpStream {
        let mut stream = self.begin(path, kind, bytes, "expect: 100-continue\r\n");
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// Loads an archive, with a query string.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn load(&self, query: &str, archive: &[u8]) -> Reply {
        let request = self
            .request("POST", &format!("/v1/load{query}"))
            .header("content-type", ARCHIVE);
        reply(self.agent.run(request.body(archive.to_vec()).unwrap()))
    }

    /// An archive, asked for with a query string.
    ///
    /// # Panics
    ///
    /// If it cannot be had.
    pub fn dump(&self, query: &str) -> Vec<u8> {
        let request = self
            .request("GET", &format!("/v1/dump{query}"))
            .body(())
            .unwrap();
        let response = self.agent.run(request).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["mneme-consistent"], "true");
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader();
        body.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.url.rsplit_once(':').unwrap().1
    }

    /// A request that carries the token.
    pub fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        match self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// Posts JSON.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self.request("POST", path).header("content-type", JSON);
        reply(self.agent.run(request.body(body.to_string()).unwrap()))
    }

    /// Asks without a body.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn ask(&self, method: &str, path: &str) -> Reply {
        reply(self.agent.run(self.request(method, path).body(()).unwrap()))
    }

    /// What is under a path, as text.
    ///
    /// # Panics
    ///
    /// If there is nothing.
    pub fn text(&self, path: &str) -> String {
        let mut response = self.agent.run(self.request("GET", path).body(()).unwrap());
        let response = response.as_mut().unwrap();
        assert_eq!(response.status(), 200);
        response.body_mut().read_to_string().unwrap()
    }

    /// The status of a request without a body.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn ask_bare(&self, method: &str, path: &str) -> u16 {
        let request = self.request(method, path).body(()).unwrap();
        self.agent.run(request).unwrap().status().as_u16()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    ///
    /// If it cannot be sent a signal.
    pub fn stop(self) -> bool {
        terminate(&self.child);
        self.ended() == Some(0)
    }

    /// The exit code, once it has ended.
    ///
    /// # Panics
    ///
    /// If it cannot be waited for.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a process to end.
///
/// # Panics
///
/// If it cannot be sent a signal.
pub fn terminate(child: &Child) {
    send(child, "TERM");
}

/// Sends a process a signal, such as `TERM`.
///
/// # Panics
///
/// If it cannot be sent.
pub fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until it is so, at most [`PATIENCE`].
///
/// # Panics
///
/// If it is not so in time.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a server takes no more connections.
///
/// # Panics
///
/// If it still does after [`PATIENCE`].
pub fn until_it_listens_no_more(server: &Server) {
    let address = server.url.strip_prefix("http://").unwrap();
    until("it listens no more", || {
        TcpStream::connect(address).is_err()
    });
}

/// All that comes until the server closes the connection.
///
/// # Panics
///
/// If the connection fails.
pub fn all_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // What it had not read is lost.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server did not close the connection: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

/// What asks a server, whatever the environment says of proxies.
pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// Reads a response.
///
/// # Panics
///
/// If there is none, or it is no JSON.
pub fn reply(response: Result<Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    Reply {
        status: response.status().as_u16(),
        json: serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
    }
}

impl Reply {
    /// A success.
    ///
    /// # Panics
    ///
    /// If it is another status.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json
    }

    /// The kind of error.
    ///
    /// # Panics
    ///
    /// If it is another status, or says nothing.
    pub fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.json["error"]["message"].as_str().unwrap().is_empty());
        self.json["error"]["kind"].as_str().unwrap()
    }
}

/// The body of a put, with a response of the query.
pub fn put(query: &str, vector: [f32; 3]) -> Value {
    json!({"query": query, "response": format!("answer to {query}"), "embedding": vector})
}
