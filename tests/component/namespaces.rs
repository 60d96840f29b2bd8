//! More namespaces than one call lists.

use mneme::checkpoint::{DumpOptions, Layout, LoadOptions};
use mneme::{Error, MemoryStore, PutRequest, SemanticCache};
use mneme_tests::embedders::{Words, axis};
use std::io::Cursor;

mneme_tests::tests![
    more_namespaces_than_one_call_lists_are_all_there,
    a_page_of_namespaces_has_its_limits,
];

/// More than one page.
const MANY: usize = 65_540;

fn open() -> SemanticCache {
    mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .open()
        .unwrap()
}

fn filled(namespaces: usize) -> (SemanticCache, Vec<String>) {
    let cache = open();
    let names: Vec<_> = (0..namespaces).map(|n| format!("n{n:06}")).collect();
    for names in names.chunks(5_000) {
        let puts = names
            .iter()
            .map(|name| PutRequest::new("q", "r").namespace(name).embedding(axis(0)));
        cache.put_many(puts.collect()).unwrap();
    }
    (cache, names)
}

fn more_namespaces_than_one_call_lists_are_all_there() {
    let (cache, names) = filled(MANY);
    assert_eq!(cache.list_namespaces().unwrap(), names);
    let stats = cache.stats(None).unwrap();
    assert_eq!(stats.entries, MANY as u64);
    assert_eq!(stats.namespace_count, MANY as u64);
    assert!(
        stats
            .namespaces
            .iter()
            .map(|one| &one.namespace)
            .eq(&names[..65_536])
    );
    let deep = cache.health(true).unwrap().deep.unwrap();
    assert_eq!(deep.namespaces, MANY as u64);
    // An archive names them all.
    let options = DumpOptions::new().layout(Layout::Portable);
    let (report, archive) = cache.dump(Vec::new(), options).unwrap();
    assert_eq!(report.entries, Some(MANY as u64));
    let copy = open();
    copy.load(Cursor::new(archive), LoadOptions::new()).unwrap();
    assert_eq!(copy.list_namespaces().unwrap(), names);
}

fn a_page_of_namespaces_has_its_limits() {
    let (cache, names) = filled(5);
    let page = |after, limit| cache.list_namespaces_after(after, limit);
    assert_eq!(page(None, 1 << 20).unwrap(), names);
    assert_eq!(page(None, 2).unwrap(), names[..2]);
    assert_eq!(page(Some(&names[1]), 2).unwrap(), names[2..4]);
    assert_eq!(page(Some("n000003x"), 9).unwrap(), names[4..]);
    assert!(page(Some("o"), 9).unwrap().is_empty());
    for limit in [0, (1 << 20) + 1] {
        let refused = page(None, limit);
        assert!(
            matches!(&refused, Err(Error::InvalidArgument(message)) if message.contains("1 to 1048576")),
            "{refused:?}"
        );
    }
}
