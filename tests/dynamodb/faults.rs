//! The DynamoDB store when the network, the server, its rights or its capacity fail.

use mneme::store::{BackendError, DynamoDbStore, Entry, EntryRef, Store, StoreError, Touch};
use mneme_tests::children::{self, Running, argument, say};
use mneme_tests::dynamodb::{NOTHING_ELSE, fill, open, proxied};
use mneme_tests::dynamodb_wire::{Action, Proxy, Request, refusal};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, key, put};
use mneme_tests::servers::dynamodb::{DynamoDb, credentials};
use mneme_tests::{python, unless_it_hangs};
use serde_json::json;
use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

mneme_tests::tests![
    what_fails_for_a_moment_is_tried_again,
    what_goes_on_failing_is_told,
    a_refusal_is_final,
    a_write_whose_answer_is_lost_takes_effect_once,
    an_unknown_outcome_is_retryable_where_repeating_is_harmless,
    touches_stored_in_part_are_not_to_be_repeated,
    conflicts_are_tried_again_for_a_while,
    a_broken_answer_is_read_again,
    a_server_that_hangs_is_given_up,
    an_outage_ends_by_itself,
    a_restarted_server_is_found_again,
    a_lost_table_is_told,
    missing_credentials_and_regions_are_told,
    an_unknown_certificate_is_refused,
    what_item_0_cannot_hold_is_refused,
    nothing_tells_the_secret,
];
mneme_tests::children![opens];

/// Opens a store, and says what came of it.
fn opens() {
    let mut store = DynamoDbStore::from_url(&argument("URL")).unwrap();
    say(&format!("{:?}", store.open(FINGERPRINT, DIM)));
}

fn backend(error: StoreError) -> BackendError {
    match error {
        StoreError::Backend(error) => {
            let (_, secret) = credentials()[1];
            assert!(!error.message.contains(secret), "{}", error.message);
            error
        }
        other => panic!("{other:?}"),
    }
}

/// Every operation that asks the server, by its name.
type Operation = (
    &'static str,
    fn(&mut DynamoDbStore) -> Result<(), StoreError>,
);

const READS: [Operation; 10] = [
    ("get_by_hash", |store| {
        store.get_by_hash(&[key("a", 1)], true).map(drop)
    }),
    ("get_by_ids", |store| store.get_by_ids(&[1], true).map(drop)),
    ("count", |store| store.count(None).map(drop)),
    ("list_namespaces", |store| {
        store.list_namespaces(None, 1000).map(drop)
    }),
    ("count_by_namespace", |store| {
        store.count_by_namespace(None, 1000).map(drop)
    }),
    ("iter_lru_ids", |store| {
        store.iter_lru_ids(1, Some("a")).map(drop)
    }),
    ("iter_since", |store| store.iter_since(0, 9).map(drop)),
    ("list_namespace_quotas", |store| {
        store.list_namespace_quotas().map(drop)
    }),
    ("read_version_counter", |store| {
        store.read_version_counter().map(drop)
    }),
    ("integrity_check", |store| store.integrity_check().map(drop)),
];

const WRITES: [Operation; 8] = [
    ("insert", |store| {
        store.insert(vec![entry("a", 2)]).map(drop)
    }),
    ("delete_by_id", |store| store.delete_by_id(1).map(drop)),
    ("delete_unchanged", |store| {
        let old = EntryRef {
            id: 1,
            namespace: "a".to_owned(),
            created_at: 1001,
        };
        store.delete_unchanged(&[old]).map(drop)
    }),
    ("delete_expired", |store| {
        store.delete_expired(9_999, None, 9).map(drop)
    }),
    ("clear_namespace", |store| {
        store.clear_namespace(Some("a")).map(drop)
    }),
    ("set_namespace_quota", |store| {
        store.set_namespace_quota("a", Some(1))
    }),
    ("update_access", |store| {
        store.update_access(&[Touch {
            id: 1,
            hits: 1,
            last_accessed_at: 1,
        }])
    }),
    ("replace_meta", |store| {
        store.replace_meta("k", None, Some("v")).map(drop)
    }),
];

/// An open store that gives up soon, though not because the machine is busy.
fn impatient(url: &str) -> DynamoDbStore {
    drop(open(url));
    let store = DynamoDbStore::from_url(url).unwrap();
    let mut store = store.call_timeout(Duration::from_millis(1500));
    while let Err(error) = store.open(FINGERPRINT, DIM) {
        assert!(backend(error).retryable);
    }
    store
}

/// One entry, which is expired at 9,999.
fn one_entry(store: &mut DynamoDbStore) {
    store.clear_namespace(None).unwrap();
    put(
        store,
        Entry {
            ttl: Some(1),
            ..entry("a", 1)
        },
    );
}

/// Fails each kind of request this many times.
fn fail_first(
    times: usize,
    action: impl Fn() -> Action + Send + 'static,
) -> impl FnMut(&Request) -> Action {
    let mut failed: HashMap<String, usize> = HashMap::new();
    move |request| {
        let count = failed.entry(request.operation.clone()).or_default();
        *count += 1;
        match *count <= times {
            true => action(),
            false => Action::Forward,
        }
    }
}

/// A kind of failure, and what answers in its place.
type Failure = (&'static str, fn() -> Action);

fn what_fails_for_a_moment_is_tried_again(server: Arc<DynamoDb>) {
    let kinds: [Failure; 5] = [
        ("throttled", || refusal(400, "ThrottlingException")),
        ("capacity", || {
            refusal(400, "ProvisionedThroughputExceededException")
        }),
        ("internal", || refusal(500, "InternalServerError")),
        ("unavailable", || Action::Answer(503, json!({}))),
        ("dropped", || Action::Drop),
    ];
    for (kind, action) in kinds {
        let (mut store, proxy) = proxied(&server, &format!("moment-{kind}"));
        one_entry(&mut store);
        for (name, operation) in READS.iter().chain(&WRITES) {
            proxy.set_rule(fail_first(2, action));
            operation(&mut store).unwrap_or_else(|error| panic!("{kind}, {name}: {error:?}"));
            assert!(proxy.take_seen().len() > 2, "{kind}, {name}");
        }
        // Clearing comes before the touch; nothing was stored twice.
        proxy.clear_rule();
        assert_eq!(store.count(None).unwrap(), 0, "{kind}");
        assert_eq!(
            store.read_meta("k").unwrap().as_deref(),
            Some("v"),
            "{kind}"
        );
    }
}

fn what_goes_on_failing_is_told(server: Arc<DynamoDb>) {
    let proxy = Proxy::start(server.port());
    one_entry(&mut open(&proxy.url("failing")));
    let mut store = impatient(&proxy.url("failing"));
    proxy.set_rule(|_| refusal(400, "ThrottlingException"));
    for (name, operation) in READS.iter().chain(&WRITES) {
        let error = backend(operation(&mut store).unwrap_err());
        assert!(error.retryable, "{name}: {}", error.message);
        for part in ["table failing", name, "ThrottlingException"] {
            assert!(error.message.contains(part), "{name}: {}", error.message);
        }
    }
    proxy.clear_rule();
    let mut store = open(&proxy.url("failing"));
    assert!(get(&mut store, "a", 1).is_some());
    assert_eq!(store.read_version_counter().unwrap(), 1);
    assert_eq!(store.read_meta("k").unwrap(), None);
}

fn a_refusal_is_final(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "refused");
    one_entry(&mut store);
    for (code, remedy) in [
        ("AccessDeniedException", "rights"),
        ("UnrecognizedClientException", "credentials"),
        ("ValidationException", "check"),
        ("ResourceNotFoundException", "create=true"),
    ] {
        proxy.set_rule(move |_| refusal(400, code));
        for (name, operation) in READS.iter().chain(&WRITES) {
            let error = backend(operation(&mut store).unwrap_err());
            assert!(!error.retryable, "{code}, {name}");
            for part in ["table refused", code, remedy] {
                assert!(
                    error.message.contains(part),
                    "{code}, {name}: {}",
                    error.message
                );
            }
        }
    }
}

/// The proxy knows tokens as DynamoDB does: a request that was carried out is not again.
fn a_write_whose_answer_is_lost_takes_effect_once(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "lost");
    let lose_first = || {
        let mut done: HashMap<String, usize> = HashMap::new();
        move |request: &Request| {
            if request.operation != "TransactWriteItems" {
                return Action::Forward;
            }
            let token = request.body["ClientRequestToken"].as_str().unwrap();
            let count = done.entry(token.to_owned()).or_default();
            *count += 1;
            match *count {
                1 => Action::LoseAnswer,
                2 => refusal(400, "TransactionInProgressException"),
                _ => Action::Answer(200, json!({})),
            }
        }
    };
    proxy.set_rule(lose_first());
    let id = put(&mut store, entry("a", 1));
    store
        .update_access(&[Touch {
            id,
            hits: 3,
            last_accessed_at: 9_000,
        }])
        .unwrap();
    assert!(store.replace_meta("k", None, Some("v")).unwrap());
    assert!(store.replace_meta("k", Some("v"), Some("w")).unwrap());
    assert_eq!(get(&mut store, "a", 1).unwrap().access_count, 3);
    assert!(store.delete_by_id(id).unwrap());
    store.write_blob("a", vec![1]).unwrap();
    store.write_blob("b", vec![2]).unwrap();
    store.delete_blobs(&["a".to_owned()]).unwrap();
    assert_eq!(store.list_blobs().unwrap(), ["b"]);
    assert_eq!(store.read_blob("b").unwrap(), Some(vec![2]));
    assert_eq!(store.read_version_counter().unwrap(), 2);
    assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("w"));
}

fn an_unknown_outcome_is_retryable_where_repeating_is_harmless(server: Arc<DynamoDb>) {
    let proxy = Proxy::start(server.port());
    one_entry(&mut open(&proxy.url("unknown")));
    let mut store = impatient(&proxy.url("unknown"));
    for (name, operation) in WRITES {
        proxy.set_rule(|request| match request.operation.as_str() {
            "TransactWriteItems" => refusal(500, "InternalServerError"),
            _ => Action::Forward,
        });
        let error = backend(operation(&mut store).unwrap_err());
        let once = ["update_access", "replace_meta"].contains(&name);
        assert_eq!(error.retryable, !once, "{name}: {}", error.message);
        assert_eq!(
            error.message.contains("unknown whether"),
            once,
            "{name}: {}",
            error.message
        );
    }
    proxy.clear_rule();
    assert_eq!(ids(&mut open(&proxy.url("unknown"))), [1]);
}

fn touches_stored_in_part_are_not_to_be_repeated(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "partly");
    fill(&mut store, "a", 0..60);
    let touches: Vec<_> = (1..=60)
        .map(|id| Touch {
            id,
            hits: 1,
            last_accessed_at: 9_000,
        })
        .collect();
    // Of the two steps, one fails, and then both.
    for (refused, in_part) in [(1, true), (2, false)] {
        let mut left = refused;
        proxy.set_rule(move |request| match request.operation.as_str() {
            "BatchGetItem" if left > 0 => {
                left -= 1;
                refusal(400, "AccessDeniedException")
            }
            _ => Action::Forward,
        });
        let error = backend(store.update_access(&touches).unwrap_err());
        assert!(!error.retryable, "{}", error.message);
        let told = error.message.contains("unknown whether it was stored");
        assert_eq!(told, in_part, "{}", error.message);
    }
    proxy.clear_rule();
    let entries = store.iter_since(0, 60).unwrap();
    let touched = entries.iter().filter(|entry| entry.access_count > 0);
    assert!([10, 50].contains(&touched.count()));
}

fn conflicts_are_tried_again_for_a_while(server: Arc<DynamoDb>) {
    let conflict = |code: &'static str| {
        move || {
            Action::Answer(
                400,
                json!({
                    "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                    "message": "Transaction cancelled",
                    "CancellationReasons": [{"Code": code, "Message": "of the test"}],
                }),
            )
        }
    };
    let proxy = Proxy::start(server.port());
    let mut store = open(&proxy.url("conflicts"));
    for code in ["TransactionConflict", "ThrottlingError"] {
        one_entry(&mut store);
        for (name, operation) in WRITES {
            proxy.set_rule(fail_first(3, conflict(code)));
            let mut only = fail_first(3, conflict(code));
            proxy.set_rule(move |request| match request.operation.as_str() {
                "TransactWriteItems" => only(request),
                _ => Action::Forward,
            });
            operation(&mut store).unwrap_or_else(|error| panic!("{code}, {name}: {error:?}"));
        }
        proxy.clear_rule();
        store.replace_meta("k", Some("v"), None).unwrap();
    }
    one_entry(&mut store);
    let id = ids(&mut store)[0];
    let version = store.read_version_counter().unwrap();
    let mut store = impatient(&proxy.url("conflicts"));
    let always = conflict("TransactionConflict");
    proxy.set_rule(move |request| match request.operation.as_str() {
        "TransactWriteItems" => always(),
        _ => Action::Forward,
    });
    let touch = Touch {
        id,
        hits: 1,
        last_accessed_at: 1,
    };
    for error in [
        store.insert(vec![entry("a", 2)]).unwrap_err(),
        store.update_access(&[touch]).unwrap_err(),
        store.replace_meta("k", None, Some("v")).unwrap_err(),
        store.clear_namespace(None).unwrap_err(),
    ] {
        let error = backend(error);
        assert!(
            error.retryable && error.message.contains("others were writing"),
            "{}",
            error.message
        );
    }
    proxy.clear_rule();
    let mut store = open(&proxy.url("conflicts"));
    assert_eq!(
        (ids(&mut store), store.read_version_counter().unwrap()),
        (vec![id], version)
    );
}

fn a_broken_answer_is_read_again(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "broken");
    one_entry(&mut store);
    for (name, operation) in READS {
        proxy.set_rule(fail_first(1, || Action::CutAnswer));
        operation(&mut store).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    proxy.set_rule(fail_first(1, || Action::Answer(200, json!("no object"))));
    let error = store.get_by_ids(&[1], true).map(drop);
    assert!(
        matches!(error, Ok(()) | Err(StoreError::Backend(_))),
        "{error:?}"
    );
    proxy.clear_rule();
    assert!(get(&mut store, "a", 1).is_some());
}

fn a_server_that_hangs_is_given_up(server: Arc<DynamoDb>) {
    let proxy = Proxy::start(server.port());
    let url = proxy.url("hanging");
    unless_it_hangs(move || {
        one_entry(&mut open(&url));
        let mut store = impatient(&url);
        for (name, operation) in READS.iter().chain(&WRITES) {
            proxy.set_rule(|_| Action::Hang);
            let error = backend(operation(&mut store).unwrap_err());
            // Whether that one was stored is unknown.
            let retryable = *name != "replace_meta";
            assert_eq!(error.retryable, retryable, "{name}: {}", error.message);
            if !["replace_meta", "update_access", "delete_unchanged"].contains(name) {
                let start = Instant::now();
                for _ in 0..100 {
                    let error = backend(operation(&mut store).unwrap_err());
                    assert!(
                        error.message.contains("calls fail at once"),
                        "{}",
                        error.message
                    );
                }
                // Each would have waited for a second and a half.
                assert!(start.elapsed() < Duration::from_secs(10));
            }
            proxy.clear_rule();
            while let Err(error) = store.open(FINGERPRINT, DIM) {
                assert!(backend(error).retryable);
            }
        }
        while let Err(error) = store.get_by_hash(&[key("a", 1)], true) {
            assert!(backend(error).retryable);
        }
        // A port whose connections nobody accepts.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!(
            "dynamodb://t?region=eu-north-1&endpoint=http://127.0.0.1:{port}&call_timeout_ms=200"
        );
        let error = DynamoDbStore::from_url(&url)
            .unwrap()
            .open(FINGERPRINT, DIM);
        assert!(backend(error.unwrap_err()).retryable);
    });
}

fn an_outage_ends_by_itself(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "outage");
    one_entry(&mut store);
    proxy.stop();
    for (name, operation) in READS.iter().chain(&WRITES) {
        let error = backend(operation(&mut store).unwrap_err());
        assert!(error.retryable, "{name}: {}", error.message);
        assert!(
            error.message.contains("table outage") && error.message.contains(name),
            "{}",
            error.message
        );
    }
    let mut other = DynamoDbStore::from_url(&proxy.url("outage")).unwrap();
    assert!(backend(other.open(FINGERPRINT, DIM).unwrap_err()).retryable);
    assert!(matches!(other.count(None), Err(StoreError::Closed)));
    proxy.resume();
    assert!(get(&mut store, "a", 1).is_some());
    assert!(store.insert(vec![entry("a", 1)]).unwrap()[0].replaced);
}

fn a_restarted_server_is_found_again(_: Arc<DynamoDb>) {
    let mut server = DynamoDb::start().unwrap();
    let url = server.url("restarted");
    let mut store = open(&url);
    put(&mut store, entry("a", 1));
    server.kill();
    assert!(backend(store.count(None).unwrap_err()).retryable);
    server.restart().unwrap();
    // This server forgets its tables.
    let error = backend(store.count(None).unwrap_err());
    assert!(
        !error.retryable && error.message.contains("create=true"),
        "{}",
        error.message
    );
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(put(&mut store, entry("a", 1)), 1);
}

fn a_lost_table_is_told(server: Arc<DynamoDb>) {
    let (mut store, _proxy) = proxied(&server, "dropped");
    one_entry(&mut store);
    let name = json!({"TableName": "dropped"});
    mneme_tests::dynamodb_wire::call(server.port(), "DeleteTable", &name);
    for (name, operation) in READS.iter().chain(&WRITES) {
        let error = backend(operation(&mut store).unwrap_err());
        assert!(!error.retryable, "{name}: {}", error.message);
    }
}

fn missing_credentials_and_regions_are_told(server: Arc<DynamoDb>) {
    let bare = |url: &str| {
        let mut command = children::command("opens", &[("URL", url)]);
        command.envs(NOTHING_ELSE);
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"] {
            command.env_remove(name);
        }
        command
    };
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = server.url("bare");
    let mut without = bare(&url);
    for (name, _) in credentials() {
        without.env_remove(name);
    }
    let answer = said(&mut without);
    for part in [
        "Backend",
        "retryable: false",
        "no credentials",
        "AWS_ACCESS_KEY_ID",
        "table bare",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
    let answer = said(&mut bare(&url.replace("region=eu-north-1&", "")));
    for part in ["retryable: false", "no region", "?region="] {
        assert!(answer.contains(part), "{answer}");
    }
    let answer = said(bare(&url.replace("region=eu-north-1&", "")).env("AWS_REGION", "eu-north-1"));
    assert!(answer.contains("Ok(())"), "{answer}");
    // The region of the URL goes before that of the environment.
    let answer =
        said(bare(&url.replace("create=true", "create=false")).env("AWS_REGION", "eu-west-1"));
    assert!(answer.contains("Ok(())"), "{answer}");
}

fn nothing_tells_the_secret(server: Arc<DynamoDb>) {
    let store = open(&server.url("secret"));
    let (_, secret) = credentials()[1];
    assert!(!format!("{store:?}").contains(secret));
    let odd = DynamoDbStore::new("t").endpoint("http://user:hidden@h:1");
    assert!(!format!("{odd:?}").contains("hidden"));
    let mut odd = odd.region("eu-north-1");
    match odd.open(FINGERPRINT, DIM) {
        Err(StoreError::InvalidArgument(text)) => assert!(!text.contains("hidden"), "{text}"),
        other => panic!("{other:?}"),
    }
}

fn an_unknown_certificate_is_refused(_: Arc<DynamoDb>) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = Command::new(python::peer().unwrap());
    command.args(["-m", "moto.server", "--ssl", "--host", "127.0.0.1"]);
    command.args(["--port", &port.to_string()]);
    let _server = Running::start(command.stderr(Stdio::null()));
    let url = format!("dynamodb://t?region=eu-north-1&endpoint=https://127.0.0.1:{port}");
    let mut store = DynamoDbStore::from_url(&url).unwrap();
    // Until it listens, the connection is refused.
    let error = loop {
        let error = backend(store.open(FINGERPRINT, DIM).unwrap_err());
        if !error.retryable {
            break error;
        }
        assert!(error.message.contains("refused"), "{}", error.message);
    };
    assert!(error.message.contains("certificate"), "{}", error.message);
}

/// As DynamoDB says it; the server of the tests has no such limit.
fn what_item_0_cannot_hold_is_refused(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "full");
    let text = "Item size to update has exceeded the maximum allowed size";
    proxy.set_rule(move |request| match request.operation.as_str() {
        "TransactWriteItems" => Action::Answer(
            400,
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "ValidationError", "Message": text}],
            }),
        ),
        _ => Action::Forward,
    });
    for error in [
        store.replace_meta("k", None, Some("v")).unwrap_err(),
        store.set_namespace_quota("a", Some(1)).unwrap_err(),
    ] {
        match error {
            StoreError::InvalidArgument(message) => {
                assert!(
                    !message.contains("table full") && message.contains("400 KB"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
