//! Tests of the DynamoDB store, which share a server.

use crate::dynamodb_wire::Proxy;
use crate::rows::{DIM, FINGERPRINT, entry};
use crate::servers::dynamodb::{DynamoDb, credentials};
use mneme::store::{DynamoDbStore, Store};
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Keeps the AWS library from looking for credentials outside of the environment.
pub const NOTHING_ELSE: [(&str, &str); 3] = [
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_CONFIG_FILE", "/nonexistent"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
];

/// Gives this program credentials for the server. They come from the environment, so where
/// that lacks them, the program runs once more with them, and its end is the result.
///
/// # Panics
///
/// Where the program cannot be started.
pub fn run_with_credentials() -> Option<ExitCode> {
    let mut given = credentials().into_iter();
    if given.all(|(name, value)| std::env::var(name).as_deref() == Ok(value)) {
        return None;
    }
    let program = std::env::current_exe().expect("the path of this program");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(credentials())
        .envs(NOTHING_ELSE)
        .status()
        .expect("it starts");
    Some(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// An open store that has patience with a busy machine.
///
/// # Panics
///
/// Where it does not open.
pub fn open(url: &str) -> DynamoDbStore {
    let store = DynamoDbStore::from_url(url).unwrap();
    let mut store = store.call_timeout(Duration::from_secs(60));
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// An open store on a table of the server.
///
/// # Panics
///
/// Where it does not open.
pub fn fresh(server: &DynamoDb, table: &str) -> DynamoDbStore {
    open(&server.url(table))
}

/// An open store behind a proxy that has seen nothing yet.
///
/// # Panics
///
/// Where it does not open.
pub fn proxied(server: &DynamoDb, table: &str) -> (DynamoDbStore, Proxy) {
    let proxy = Proxy::start(server.port());
    let store = open(&proxy.url(table));
    proxy.take_seen();
    (store, proxy)
}

/// Inserts [`entry`] of each of the numbers.
///
/// # Panics
///
/// Where one cannot be inserted.
pub fn fill(store: &mut dyn Store, namespace: &str, numbers: Range<u64>) {
    let entries: Vec<_> = numbers.map(|n| entry(namespace, n)).collect();
    for part in entries.chunks(store.capabilities().max_batch as usize) {
        store.insert(part.to_vec()).unwrap();
    }
}
