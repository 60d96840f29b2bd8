//! The Redis store with no more rights than it needs, on servers that evict, and with certificates of
//! clients.

use mneme::RedisStore;
use mneme::store::{
    BackendError, Entry, Filter, ImportMode, MetaChange, Result, Store, StoreError, Touch,
};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::redis::{Client, Redis};
use mneme_tests::suite::Ran;

mneme_tests::tests![
    the_rights_of_the_documents_do_for_everything,
    a_right_less_is_named_by_the_error,
    a_server_that_evicts_is_warned_of,
    a_server_may_ask_for_a_certificate,
];

/// The rights that the documents list, with another user, password and prefix.
pub fn rights(prefix: &str) -> Vec<String> {
    let text = include_str!("../../host/stores/redis/src/production.md");
    let (_, rule) = text.split_once("ACL SETUSER mneme ").unwrap();
    let (rule, _) = rule.split_once("```").unwrap();
    let words = rule.split_whitespace().map(|word| match word {
        ">PASSWORD" => ">secret".to_owned(),
        "~mneme:*" => format!("~{prefix}:*"),
        other => other.to_owned(),
    });
    words.collect()
}

/// Gives the user `some` these rights too.
pub fn grant(client: &mut Client, rules: &[impl AsRef<str>]) {
    let rules = rules.iter().map(AsRef::as_ref);
    let all: Vec<&str> = ["ACL", "SETUSER", "some"]
        .into_iter()
        .chain(rules)
        .collect();
    client.run::<()>(&all);
}

/// Runs every operation of a store that is opened here.
pub fn works(store: &mut RedisStore) -> Result<()> {
    store.recorded_embedder()?;
    store.server_time()?;
    store.open(FINGERPRINT, DIM)?;
    let first = store.read_version_counter()?;
    let labelled = |n: u64, ttl: Option<u64>| Entry {
        tags: vec!["t".to_owned()],
        ttl,
        // Long over, so that Redis does not expire it before it is looked for.
        ..entry("a", n)
    };
    store.insert(vec![labelled(1, None), labelled(2, Some(5)), entry("b", 3)])?;
    let found = store.get_by_hash(&[mneme_tests::rows::key("a", 1)], true)?;
    let id = found[0].as_ref().unwrap().id;
    store.update_access(&[Touch {
        id,
        hits: 1,
        last_accessed_at: 9000,
    }])?;
    assert_eq!(store.get_by_ids(&[id], false)?[0].access_count, 1);
    let filter = |namespace: Option<&str>, tags: &[&str]| Filter {
        namespace: namespace.map(str::to_owned),
        context: None,
        created_from: None,
        created_before: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let tagged = filter(None, &["t"]);
    assert_eq!(store.select(&tagged, 0, 9)?.entries.len(), 2);
    let of_namespace = filter(Some("b"), &[]);
    assert_eq!(store.select(&of_namespace, 0, 9)?.entries.len(), 1);
    assert_eq!(store.count(None)?, 3);
    assert_eq!(store.list_namespaces(None, 1000)?, ["a", "b"]);
    assert_eq!(store.iter_lru_ids(9, Some("a"))?.len(), 2);
    assert_eq!(store.iter_lru_ids(9, None)?.len(), 3);
    assert_eq!(store.iter_since(0, 9)?.len(), 3);
    assert_eq!(store.iter_vectors(0, 9)?.ids.len(), 3);
    assert_eq!(store.iter_stamps(0, 9)?.ids.len(), 3);
    let changes = store.changes_since(first, 9)?;
    assert!(first == 0 || changes.unwrap().changes.len() == 3);
    assert_eq!(store.delete_expired(5000, None, 9)?.len(), 1);
    // One that keeps no tag and no ttl.
    store.insert(vec![entry("a", 1)])?;
    assert!(store.delete_by_id(id)?);
    store.set_namespace_quota("a", Some(7))?;
    assert_eq!(store.get_namespace_quota("a")?, Some(7));
    assert_eq!(store.list_namespace_quotas()?, [("a".to_owned(), 7)]);
    store.set_namespace_quota("a", None)?;
    assert!(store.replace_meta("k", None, Some("1"))?);
    assert_eq!(store.read_meta("k")?.as_deref(), Some("1"));
    assert_eq!(store.list_meta()?.len(), 1);
    assert!(store.replace_meta("k", Some("1"), None)?);
    store.write_blob("x", vec![1])?;
    assert_eq!(store.read_blob("x")?, Some(vec![1]));
    assert_eq!(store.list_blobs()?, ["x"]);
    store.delete_blobs(&["x".to_owned()])?;
    for mode in [ImportMode::Merge, ImportMode::Replace, ImportMode::Empty] {
        if mode == ImportMode::Empty {
            store.clear_namespace(None)?;
        }
        store.begin_import(mode)?;
        store.write_import(vec![labelled(1, Some(5)), labelled(2, None)])?;
        let meta = [MetaChange {
            key: "m".to_owned(),
            expected: None,
            value: "v".to_owned(),
        }];
        let meta = if mode == ImportMode::Replace {
            &meta[..]
        } else {
            &[]
        };
        assert!(store.commit_import(&[("a".to_owned(), 9)], meta)?);
    }
    store.begin_import(ImportMode::Merge)?;
    store.write_import(vec![entry("a", 9)])?;
    store.end_import()?;
    assert!(store.integrity_check()?);
    assert_eq!(store.clear_namespace(Some("a"))?, 2);
    assert_eq!(store.clear_namespace(None)?, 0);
    assert!(store.replace_meta("m", Some("v"), None)?);
    store.close()
}

fn the_rights_of_the_documents_do_for_everything(server: Redis) {
    let mut client = server.client();
    let rules = rights("p");
    grant(&mut client, &rules);
    let url = server.url().replace("//", "//some:secret@");
    for database in ["", "/3"] {
        let url = format!("{url}{database}?prefix=p");
        for _ in 0..2 {
            works(&mut RedisStore::from_url(&url).unwrap()).unwrap();
        }
    }
    // Nothing else is there to be harmed.
    let refused = works(&mut RedisStore::from_url(&format!("{url}?prefix=q")).unwrap());
    assert!(
        matches!(&refused, Err(StoreError::Backend(error)) if error.message.contains("~PREFIX:*")),
        "{refused:?}"
    );
}

fn a_right_less_is_named_by_the_error(server: Redis) {
    let mut client = server.client();
    let rules = rights("p");
    let url = server.url().replace("//", "//some:secret@");
    let mut named = Vec::new();
    for rule in rules.iter().filter(|rule| rule.starts_with('+')) {
        let right = rule.trim_start_matches('+');
        client.run::<()>(&["FLUSHALL"]);
        grant(&mut client, &rules);
        grant(&mut client, &[&format!("-{right}")]);
        let outcome = works(&mut RedisStore::from_url(&format!("{url}?prefix=p")).unwrap());
        if let Err(error) = outcome {
            let expected = format!("may not run the command {}", right.to_uppercase());
            assert!(
                matches!(&error, StoreError::Backend(BackendError { message, retryable: false })
                    if message.contains(&expected) && message.contains("ACL SETUSER")),
                "{right}: {error:?}"
            );
            named.push(right.to_owned());
        }
    }
    // Some are for other databases, for what is left of expired entries, and for pages.
    assert!(named.len() > 30, "{named:?}");
}

fn warnings(store: &mut RedisStore) -> Vec<String> {
    store.open(FINGERPRINT, DIM).unwrap();
    let warnings = store.warnings();
    put(store, entry("a", 1));
    assert!(get(store, "a", 1).is_some());
    store.close().unwrap();
    assert!(store.warnings().is_empty());
    warnings
}

fn a_server_that_evicts_is_warned_of(server: Redis) {
    let mut client = server.client();
    let rules = rights("p");
    grant(&mut client, &rules);
    let url = server.url().replace("//", "//some:secret@");
    let mut all = server.store("p");
    let mut some = RedisStore::from_url(&url).unwrap().prefix("p");
    let is_warned = |store: &mut RedisStore| {
        let warnings = warnings(store);
        assert!(warnings.len() < 2, "{warnings:?}");
        warnings.iter().any(|text| {
            text.contains("maxmemory-policy allkeys-lru") && text.contains("noeviction")
        })
    };
    let set = |name: &str, value: &str| server.client().run::<()>(&["CONFIG", "SET", name, value]);
    assert!(!is_warned(&mut all));
    // Without a limit nothing is evicted.
    set("maxmemory-policy", "allkeys-lru");
    assert!(!is_warned(&mut all));
    set("maxmemory", "1gb");
    assert!(is_warned(&mut all));
    assert!(!is_warned(&mut some), "it may not ask");
    grant(&mut client, &["+info"]);
    assert!(is_warned(&mut some));
    grant(&mut client, &["-info", "+config|get"]);
    assert!(is_warned(&mut some));
    set("maxmemory-policy", "noeviction");
    assert!(!is_warned(&mut all) && !is_warned(&mut some));

    // The cache passes it on.
    set("maxmemory-policy", "volatile-ttl");
    let cache = mneme_tests::builder()
        .store(server.store("q"))
        .embedder(mneme::embedder::Precomputed::new(FINGERPRINT, DIM))
        .open()
        .unwrap();
    let warnings = cache.warnings().unwrap();
    assert!(warnings[0].contains("volatile-ttl"), "{warnings:?}");
    cache.close().unwrap();
}

fn a_server_may_ask_for_a_certificate() -> Ran {
    let server = Redis::with_tls_for_clients()?;
    let url = format!(
        "rediss://127.0.0.1:{}?prefix=p&cafile={}",
        server.tls_port(),
        server.authority().display()
    );
    let open = |more: &str| {
        let mut store = RedisStore::from_url(&format!("{url}{more}")).unwrap();
        store.open(FINGERPRINT, DIM).map(|()| store)
    };
    let refused = |more: &str, part: &str| match open(more).map(drop) {
        Err(StoreError::Backend(error)) => {
            assert!(!error.retryable, "{}", error.message);
            assert!(error.message.contains(part), "{}", error.message);
        }
        other => panic!("{more}: {other:?}"),
    };
    let (certificate, key) = server.identity();
    let (certificate, key) = (certificate.display(), key.display());
    let mut store = open(&format!("&certfile={certificate}&keyfile={key}")).unwrap();
    put(&mut store, entry("a", 1));
    assert!(get(&mut store, "a", 1).is_some());
    refused("", "no TLS connection");
    refused(&format!("&certfile=/none&keyfile={key}"), "certfile /none");
    refused(
        &format!("&certfile={certificate}&keyfile=/none"),
        "keyfile /none",
    );
    refused(
        &format!("&certfile={certificate}&keyfile={certificate}"),
        "PEM",
    );
    refused(&format!("&certfile={key}&keyfile={key}"), "");
    Ok(())
}
