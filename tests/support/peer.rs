//! mneme-cache at the other end of a pipe.

use crate::children::Running;
use crate::embedders::{DIM, FINGERPRINT, words};
use crate::python::Python;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A process of the Python library, which runs `interop/peer.py`: a call as JSON a line in, its
/// result out. Dropping it kills it.
pub struct Peer(Running);

impl Peer {
    /// Starts the process, without a cache.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn start(python: Python) -> Peer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/peer.py");
        Peer(Running::start(Command::new(python.0).arg(script)))
    }

    /// The result of a call.
    ///
    /// # Errors
    ///
    /// The name of its exception and the message.
    ///
    /// # Panics
    ///
    /// Where there is no answer.
    pub fn attempt(&mut self, name: &str, arguments: Value) -> Result<Value, String> {
        self.ask(name, arguments);
        self.answer()
    }

    /// Begins a call.
    ///
    /// # Panics
    ///
    /// Where it does not listen.
    pub fn ask(&mut self, name: &str, arguments: Value) {
        self.0.tell(&json!([name, arguments]).to_string());
    }

    /// The result of the call that was begun.
    ///
    /// # Errors
    ///
    /// As [`attempt`](Self::attempt).
    ///
    /// # Panics
    ///
    /// Where there is no answer.
    pub fn answer(&mut self) -> Result<Value, String> {
        let line = self.0.line().expect("the peer answers");
        let mut outcome: Value = serde_json::from_str(&line).expect("the answer is JSON");
        match outcome["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", outcome["message"])),
            None => Ok(outcome["ok"].take()),
        }
    }

    /// The result of a call that succeeds.
    ///
    /// # Panics
    ///
    /// Where it does not.
    pub fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.attempt(name, arguments)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Has it open a cache at a place (the kind of its store, and the arguments of that), with the
    /// embedder of [`embedders`](crate::embedders).
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn open(python: Python, place: &Value, more: Value) -> Peer {
        let mut peer = Peer::start(python);
        let basic = json!({"place": place, "fingerprint": FINGERPRINT, "dim": DIM});
        peer.call("open", joined(basic, more));
        peer
    }

    /// Stores an answer.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn put(&mut self, namespace: &str, query: &str, response: &str, more: Value) {
        let basic = json!({"namespace": namespace, "query": query, "response": response, "embedding": vector(query)});
        self.call("put", joined(basic, more));
    }

    /// Asks with a vector, so that both layers are tried.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn get(&mut self, namespace: &str, query: &str) -> Value {
        self.call(
            "get",
            json!({"namespace": namespace, "query": query, "embedding": vector(query)}),
        )
    }

    /// Deletes an answer.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn delete(&mut self, namespace: &str, query: &str) -> Value {
        self.call("delete", json!({"namespace": namespace, "query": query}))
    }

    /// Closes its cache and waits for its end.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn close(mut self) {
        self.call("close", json!({}));
        self.0.finish();
    }
}

/// What our embedder makes of a query.
fn vector(query: &str) -> Vec<f32> {
    let text: Vec<&str> = query.split_whitespace().collect();
    words(&text.join(" ").to_lowercase())
}

/// The two objects as one, the second deciding.
///
/// # Panics
///
/// Where one is no object.
#[must_use]
pub fn joined(mut basic: Value, more: Value) -> Value {
    let object = basic.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    basic
}
