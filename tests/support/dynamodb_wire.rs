//! DynamoDB's protocol by hand: plain requests, and a proxy that counts, holds, falsifies
//! and drops those of a store.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The region that the tests work in.
pub const REGION: &str = "eu-north-1";

/// How long a gathering waits for its requests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one request to a server that checks no signature, and returns its answer.
///
/// # Panics
///
/// Where the server does not answer or refuses.
pub fn call(port: u16, operation: &str, body: &Value) -> Value {
    let body = body.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: DynamoDB_20120810.{operation}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=tests/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    server.write_all(head.as_bytes()).expect("it reads");
    server.write_all(body.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "{operation}: {answer}");
    serde_json::from_str(body).expect("JSON")
}

/// All items of a table, by their ids.
///
/// # Panics
///
/// Where the server refuses.
pub fn items(port: u16, table: &str) -> Vec<Value> {
    let mut items = call(port, "Scan", &json!({"TableName": table}))["Items"].take();
    let mut items = items.as_array_mut().map(std::mem::take).unwrap_or_default();
    items.sort_by_key(id);
    items
}

/// The id of an item.
///
/// # Panics
///
/// Where it has none.
pub fn id(item: &Value) -> i128 {
    let id = item["id"]["N"].as_str().expect("an id");
    id.parse().expect("a whole number")
}

/// A request on its way to the server.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GetItem`.
    pub operation: String,
    /// The parameters.
    pub body: Value,
    raw: Vec<u8>,
}

/// What becomes of a request.
pub enum Action {
    /// It is passed on.
    Forward,
    /// It is passed on, and its answer changed.
    Rewrite(Box<dyn FnOnce(Value) -> Value + Send>),
    /// This is answered instead, with a status.
    Answer(u16, Value),
    /// The connection is closed, before the server sees it.
    Drop,
    /// It is passed on, and the connection closed instead of an answer.
    LoseAnswer,
    /// It is passed on, and half of the answer comes back.
    CutAnswer,
    /// Nothing happens any more.
    Hang,
}

/// DynamoDB's refusal with a code.
pub fn refusal(status: u16, code: &str) -> Action {
    Action::Answer(
        status,
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": format!("{code} of the test")}),
    )
}

type Rule = Box<dyn FnMut(&Request) -> Action + Send>;

/// A proxy in front of a server, which sees one request at a time.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    state: Mutex<State>,
    /// Notified when the state has changed.
    changed: Condvar,
    /// Held while the server works on a request.
    serving: Mutex<()>,
}

struct State {
    rule: Rule,
    seen: Vec<Request>,
    /// How many more requests have to arrive before any is passed on.
    gathering: usize,
    clients: Vec<TcpStream>,
    /// It is to refuse connections, and does.
    stopped: bool,
    closed: bool,
}

impl Proxy {
    /// Starts a proxy that passes everything on.
    ///
    /// # Panics
    ///
    /// Where no port is free.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            server,
            state: Mutex::new(State {
                rule: Box::new(|_| Action::Forward),
                seen: Vec::new(),
                gathering: 0,
                clients: Vec::new(),
                stopped: false,
                closed: false,
            }),
            changed: Condvar::new(),
            serving: Mutex::new(()),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(listener, port));
        Proxy { port, shared }
    }

    /// Closes every connection and refuses new ones.
    ///
    /// # Panics
    ///
    /// Where it is stopped already.
    pub fn stop(&self) {
        let mut state = self.shared.state();
        state.stopped = true;
        for client in state.clients.drain(..) {
            // It may have ended already.
            let _ = client.shutdown(Shutdown::Both);
        }
        drop(state);
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listened");
        let state = self.shared.state();
        let closed = |state: &mut State| !state.closed;
        drop(self.shared.changed.wait_while(state, closed));
    }

    /// Accepts connections again.
    pub fn resume(&self) {
        self.shared.state().stopped = false;
        self.shared.changed.notify_all();
        let state = self.shared.state();
        drop(self.shared.changed.wait_while(state, |state| state.closed));
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a table behind it, which is created where it is missing.
    pub fn url(&self, table: &str) -> String {
        format!(
            "dynamodb://{table}?region={REGION}&endpoint=http://127.0.0.1:{}&create=true",
            self.port
        )
    }

    /// Decides from now on what becomes of each request.
    pub fn set_rule(&self, rule: impl FnMut(&Request) -> Action + Send + 'static) {
        self.shared.state().rule = Box::new(rule);
    }

    /// Passes everything on again.
    pub fn clear_rule(&self) {
        self.set_rule(|_| Action::Forward);
    }

    /// Passes on nothing before `n` more requests have arrived, which shows that they are
    /// sent at the same time.
    pub fn gather(&self, n: usize) {
        self.shared.state().gathering = n;
    }

    /// The requests since this was last asked.
    pub fn take_seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state().seen)
    }

    /// The names of the requests since this was last asked, sorted, each with its number.
    pub fn take_counts(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for request in self.take_seen() {
            *counts.entry(request.operation).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, mut listener: TcpListener, port: u16) {
        loop {
            while let Ok((client, _)) = listener.accept() {
                let mut state = self.state();
                if state.stopped {
                    break;
                }
                state.clients.extend(client.try_clone());
                drop(state);
                let shared = Arc::clone(&self);
                std::thread::spawn(move || {
                    // The client notices a connection that ends.
                    let _ = shared.serve(&client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
            drop(listener);
            let mut state = self.state();
            state.closed = true;
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.stopped)
                .unwrap_or_else(PoisonError::into_inner);
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the same port");
            state.closed = false;
            drop(state);
            self.changed.notify_all();
        }
    }

    fn serve(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        while let Some(request) = read_request(&mut reader)? {
            match self.judge(&request)? {
                Action::Forward => {
                    let (status, body) = self.forward(&request)?;
                    answer(&mut client, status, &body)?;
                }
                Action::Rewrite(change) => {
                    let (status, body) = self.forward(&request)?;
                    let body = change(serde_json::from_slice(&body)?);
                    answer(&mut client, status, body.to_string().as_bytes())?;
                }
                Action::Answer(status, body) => {
                    answer(&mut client, status, body.to_string().as_bytes())?;
                }
                Action::Drop => return Ok(()),
                Action::LoseAnswer => {
                    self.forward(&request)?;
                    return Ok(());
                }
                Action::CutAnswer => {
                    let (status, body) = self.forward(&request)?;
                    let mut whole = Vec::new();
                    answer(&mut whole, status, &body)?;
                    client.write_all(&whole[..whole.len() - body.len().div_ceil(2)])?;
                    return Ok(());
                }
                Action::Hang => {
                    // Until the client gives up.
                    let mut end = [0];
                    while reader.read(&mut end)? > 0 {}
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Records a request, waits for the gathering, and asks the rule.
    fn judge(&self, request: &Request) -> io::Result<Action> {
        let mut state = self.state();
        state.seen.push(request.clone());
        if state.gathering > 0 {
            state.gathering -= 1;
            self.changed.notify_all();
            let (gathered, late) = self
                .changed
                .wait_timeout_while(state, PATIENCE, |state| state.gathering > 0)
                .unwrap_or_else(PoisonError::into_inner);
            if late.timed_out() {
                return Err(io::Error::from(ErrorKind::TimedOut));
            }
            state = gathered;
        }
        Ok((state.rule)(request))
    }

    fn forward(&self, request: &Request) -> io::Result<(u16, Vec<u8>)> {
        let _one_at_a_time = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        server.write_all(&request.raw)?;
        let mut reader = BufReader::new(server);
        let head = read_head(&mut reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let body = read_body(&mut reader, &head)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or(ErrorKind::InvalidData)?, body))
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(head) = read_head(reader)? else {
        return Ok(None);
    };
    let body = read_body(reader, &head)?;
    let target = header(&head, "x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let mut raw = head.into_bytes();
    raw.extend(&body);
    Ok(Some(Request {
        operation,
        body: serde_json::from_slice(&body)?,
        raw,
    }))
}

/// The lines up to the empty one, which is included; none where the connection has ended.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn read_body(reader: &mut impl Read, head: &str) -> io::Result<Vec<u8>> {
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn answer(client: &mut impl Write, status: u16, body: &[u8]) -> io::Result<()> {
    write!(
        client,
        "HTTP/1.1 {status} Status\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    client.write_all(body)?;
    client.flush()
}
