//! Contexts and tags: which entries may answer which requests.

use super::*;
use crate::error::Result;

fn of_context(context: &str, mut request: PutRequest) -> PutRequest {
    request.context = context.into();
    request
}

fn ask_in(context: &str, query: &str, degrees: f64) -> GetRequest {
    GetRequest {
        context: context.into(),
        ..ask(query, degrees)
    }
}

fn tagged(tags: &[&str], mut request: PutRequest) -> PutRequest {
    request.tags = tags.iter().map(|&tag| tag.into()).collect();
    request
}

fn ask_tagged(tags: &[&str], query: &str, degrees: f64) -> GetRequest {
    GetRequest {
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        ..ask(query, degrees)
    }
}

#[test]
fn an_entry_answers_in_its_context_only() {
    let (mut cache, _, store) = new_cache(|_| {});
    for context in ["", "a", "b", "A"] {
        let mut request = of_context(context, response("q", 0.0));
        request.response = format!("of {context:?}");
        cache.put(request).unwrap();
    }
    assert_eq!(store.entries().len(), 4);
    for context in ["", "a", "b", "A"] {
        for query in ["Q ", "reworded"] {
            let found = hit(cache.get(ask_in(context, query, 1.0)).unwrap());
            assert_eq!(found.response, format!("of {context:?}"));
            assert_eq!(found.context, context);
        }
    }
    for context in ["c", "a ", "\u{1}"] {
        assert_eq!(
            miss(cache.get(ask_in(context, "q", 0.0)).unwrap()),
            MissReason::NoMatch
        );
    }
    assert!(cache.delete("q", "n", "a").unwrap());
    assert!(!cache.delete("q", "n", "a").unwrap());
    miss(cache.get(ask_in("a", "q", 0.0)).unwrap());
    hit(cache.get(ask_in("", "q", 0.0)).unwrap());
    // A context and a namespace are not one name.
    let other = GetRequest {
        namespace: "nb".into(),
        ..ask_in("", "q", 0.0)
    };
    miss(cache.get(other).unwrap());
}

#[test]
fn the_hash_is_of_text_and_context() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(response(" ABC", 0.0)).unwrap();
    cache.put(of_context("d", response(" ABC", 0.0))).unwrap();
    let hashes: Vec<String> = store.entries().into_iter().map(|e| e.query_hash).collect();
    assert_eq!(hashes, [query::hash("abc", ""), query::hash("abc", "d")]);
    let mut request = ask_in("d", "abc", 90.0);
    request.vector = VectorSource::Pending;
    request.query = "another".into();
    match cache.get(request).unwrap() {
        Lookup::NeedsEmbedding(asked) => {
            assert_eq!(asked.text, "another");
            assert_eq!(asked.hash, query::hash("another", "d"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_whose_context_was_lost_answers_nobody_by_meaning() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(of_context("secret", response("q", 0.0))).unwrap();
    let entry = store.entries().remove(0);
    store.plant(Entry {
        context: String::new(),
        ..entry
    });
    let mut reopened = cache_on(&store, |_| {}).0;
    miss(reopened.get(ask("reworded", 0.0)).unwrap());
    miss(reopened.get(ask("q", 0.0)).unwrap());
}

#[test]
fn contexts_survive_the_index_that_is_kept() {
    let (mut cache, _, store) = new_cache(|_| {});
    for n in 0..1500_u32 {
        let context = if n % 3 == 0 {
            String::new()
        } else {
            format!("c{n}")
        };
        let request = of_context(&context, response(&format!("q{n}"), f64::from(n % 90)));
        cache.put(request).unwrap();
    }
    while cache.warm_up().unwrap().more {}
    cache.close().unwrap();
    assert!(store.blobs().contains_key("index/head"));
    let before = store.rows_read();
    let (mut cache, _) = cache_on(&store, |_| {});
    let found = look(&mut cache, ask_in("c7", "reworded", 7.0));
    assert_eq!(hit(found).query, "q7");
    assert_eq!(store.rows_read(), before, "the kept index was read");
    assert_eq!(cache.stats(None).unwrap().index_rows, 1500);
    miss(look(&mut cache, ask_in("c3", "reworded", 3.0)));
    // Removing knows the scope of a row of the kept index.
    assert!(cache.delete("q7", "n", "c7").unwrap());
    miss(look(&mut cache, ask_in("c7", "reworded", 7.0)));
    assert_eq!(cache.stats(None).unwrap().index_rows, 1499);
    while cache.clear_namespace("n").unwrap().more {}
    assert_eq!(cache.stats(None).unwrap().index_rows, 0);
}

/// Asks until the index has been read.
fn look(cache: &mut Cache<TestStore, TestHost>, request: GetRequest) -> Lookup {
    loop {
        match cache.get(request.clone()).unwrap() {
            Lookup::Later => {}
            found => return found,
        }
    }
}

#[test]
fn another_process_follows_entries_of_contexts() {
    for keeps_log in [false, true] {
        let store = TestStore::default();
        store.keeps_log.set(keeps_log);
        let (mut writer, _) = cache_on(&store, |_| {});
        let (mut reader, _) = cache_on(&store, |o| o.coordination = Coordination::StaleTolerant(0));
        writer.put(of_context("a", response("q", 0.0))).unwrap();
        hit(reader.get(ask_in("a", "x", 0.0)).unwrap());
        writer.put(of_context("b", response("q", 90.0))).unwrap();
        hit(reader.get(ask_in("b", "x", 90.0)).unwrap());
        writer.delete("q", "n", "a").unwrap();
        miss(reader.get(ask_in("a", "x", 0.0)).unwrap());
        assert_eq!(reader.stats(None).unwrap().index_rows, 1);
    }
}

#[test]
fn every_tag_that_is_asked_for_must_be_there() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache
        .put(tagged(&["b", "a"], response("near", 0.0)))
        .unwrap();
    cache.put(tagged(&["c"], response("far", 20.0))).unwrap();
    assert_eq!(store.entries()[0].tags, ["a", "b"], "sorted");
    for (tags, query) in [
        (&[][..], Some("near")),
        (&["a"], Some("near")),
        (&["b", "a"], Some("near")),
        (&["c"], Some("far")),
        (&["a", "c"], None),
        (&["A"], None),
    ] {
        let found = cache.get(ask_tagged(tags, "x", 0.0)).unwrap();
        match query {
            Some(query) => {
                let found = hit(found);
                assert_eq!(found.query, query, "{tags:?}");
                assert!(tags.iter().all(|&tag| found.tags.iter().any(|t| t == tag)));
            }
            None => assert_eq!(miss(found), MissReason::NoMatch, "{tags:?}"),
        }
    }
    // The exact layer asks for them too, and the semantic one goes on.
    assert_eq!(
        hit(cache.get(ask_tagged(&["c"], "near", 0.0)).unwrap()).query,
        "far"
    );
    let Explained::Explanation(explained) =
        cache.explain(ask_tagged(&["c"], "near", 0.0), 10).unwrap()
    else {
        panic!("no explanation");
    };
    assert_eq!(explained.exact.unwrap().verdict, Verdict::OtherTags);
    assert_eq!(explained.outcome, ExplainedOutcome::Hit(Layer::Semantic));
    // A replacement has its own tags.
    cache.put(tagged(&["d"], response("near", 0.0))).unwrap();
    assert_eq!(store.entries()[0].tags, ["d"]);
    assert_eq!(store.entries().len(), 2, "an entry without its tag stays");
}

#[test]
fn bad_contexts_and_tags_are_refused_and_nothing_changes() {
    let (mut cache, _, store) = new_cache(|_| {});
    let long = "é".repeat(513);
    for context in ["a\0b", &long] {
        assert!(is_invalid(
            cache.put(of_context(context, response("q", 0.0)))
        ));
        assert!(is_invalid(cache.get(ask_in(context, "q", 0.0))));
        assert!(is_invalid(cache.delete("q", "n", context)));
    }
    let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "t".repeat(10_240);
    let cases = [
        &many[..],
        &[""],
        &["a", "b", "a"],
        &[long.as_str()],
        &["a\0"],
    ];
    for tags in cases {
        assert!(is_invalid(cache.put(tagged(tags, response("q", 0.0)))));
        assert!(is_invalid(cache.get(ask_tagged(tags, "q", 0.0))));
    }
    assert_eq!(store.entries(), []);
    let greatest = "é".repeat(512);
    let tags: Vec<String> = (10..42).map(|n| format!("{n}{}", "é".repeat(63))).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    cache
        .put(of_context(&greatest, tagged(&tags, response("q", 0.0))))
        .unwrap();
    let found = hit(cache.get(ask_in(&greatest, "q", 0.0)).unwrap());
    assert_eq!((found.context, found.tags.len()), (greatest, 32));
}

fn is_invalid<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(Error::InvalidArgument(_)))
}
