//! Contexts and tags through the real component: who computes for whom, what is kept, listing,
//! erasing, and what many contexts cost.

use mneme::{
    AsyncSemanticCache, Computed, EntryFilter, GetRequest, MemoryStore, Origin, PutRequest,
    SemanticCache,
};
use mneme_tests::embedders::{Words, axis};
use std::convert::Infallible;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

mneme_tests::tests![
    a_computation_is_shared_within_a_context_only,
    what_is_computed_carries_the_tags_that_were_asked_for,
    entries_are_listed_and_erased_in_steps,
    both_faces_of_the_cache_list_and_erase,
    a_hundred_thousand_contexts_cost_little_memory,
];

fn open() -> SemanticCache {
    let builder = mneme_tests::builder().store(MemoryStore::new());
    builder.embedder(Words).open().unwrap()
}

fn a_computation_is_shared_within_a_context_only() {
    let cache = open();
    let computed = AtomicUsize::new(0);
    let contexts = ["", "a", "a", "b"];
    let all_wait = Barrier::new(3);
    std::thread::scope(|scope| {
        for context in contexts {
            let (cache, computed, all_wait) = (&cache, &computed, &all_wait);
            scope.spawn(move || {
                let request = GetRequest::new("alpha beta").context(context);
                let answer = cache.get_or_compute(request, || {
                    computed.fetch_add(1, SeqCst);
                    // Ends only if all contexts are computed at the same time.
                    all_wait.wait();
                    Ok::<_, Infallible>(format!("of {context:?}"))
                });
                assert_eq!(answer.unwrap().response, format!("of {context:?}"));
            });
        }
    });
    assert_eq!(computed.load(SeqCst), 3);
    assert_eq!(cache.stats(None).unwrap().entries, 3);
    for context in ["", "a", "b"] {
        let reworded = GetRequest::new("beta alpha").context(context);
        let hit = cache.get(reworded).unwrap().hit().unwrap();
        assert_eq!(
            (hit.response.as_str(), hit.context.as_str()),
            (&*format!("of {context:?}"), context)
        );
    }
}

fn what_is_computed_carries_the_tags_that_were_asked_for() {
    let cache = open();
    let ask = || {
        let request = GetRequest::new("alpha beta").tag("v2").tag("doc");
        let computed = || Ok::<_, Infallible>(Computed::new("r").tag("model:small").tag("v2"));
        cache.get_or_compute(request, computed).unwrap().origin
    };
    assert!(matches!(ask(), Origin::Computed(Ok(_))));
    let Origin::Cache(hit) = ask() else {
        panic!("computed again");
    };
    assert_eq!(hit.tags, ["doc", "model:small", "v2"]);
    let other = GetRequest::new("alpha beta").tags(["v2", "v3"]);
    assert!(!cache.get(other).unwrap().is_hit());
}

/// Entries with every tenth of them tagged.
fn filled(entries: u64) -> SemanticCache {
    let cache = open();
    let puts = (0..entries).map(|n| {
        let put = PutRequest::new(format!("question {n}"), "r").embedding(axis(n as usize));
        match n % 10 {
            0 => put.tag("tenth"),
            _ => put,
        }
    });
    cache.put_many(puts.collect()).unwrap();
    cache
}

fn entries_are_listed_and_erased_in_steps() {
    let cache = filled(3_000);
    let tenth = EntryFilter::new().tag("tenth");
    let mut listed = Vec::new();
    let mut next = Some(0);
    while let Some(after) = next {
        let page = cache.list_entries(&tenth, after, 77).unwrap();
        listed.extend(page.entries.iter().map(|entry| entry.id));
        next = page.next;
    }
    assert_eq!(listed.len(), 300);
    let dry = cache.erase(&tenth, true).unwrap();
    assert_eq!((&dry.ids, dry.version_after), (&listed, dry.version_before));
    let receipt = cache.erase(&tenth, false).unwrap();
    assert_eq!(receipt.ids, listed);
    assert!(receipt.version_after > receipt.version_before);
    assert_eq!(cache.erase(&tenth, false).unwrap().ids, [0_u64; 0]);
    assert_eq!(cache.stats(None).unwrap().entries, 2_700);
    assert!(cache.erase(&EntryFilter::new(), false).is_err());
    let all = cache.erase(&EntryFilter::everything(), false).unwrap();
    assert_eq!(all.ids.len(), 2_700);
    assert_eq!(cache.stats(None).unwrap().entries, 0);
}

fn both_faces_of_the_cache_list_and_erase() {
    let cache = AsyncSemanticCache::new(filled(20));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(async {
        let tenth = || EntryFilter::new().tag("tenth");
        let page = cache.list_entries(tenth(), 0, 1).await.unwrap();
        assert_eq!(
            (page.entries[0].query.as_str(), page.next),
            ("question 0", Some(1))
        );
        assert_eq!(cache.erase(tenth(), true).await.unwrap().ids, [1, 11]);
        assert_eq!(cache.erase(tenth(), false).await.unwrap().ids, [1, 11]);
        let put = PutRequest::new("q", "r").context("c").embedding(axis(0));
        cache.put(put).await.unwrap();
        assert!(!cache.delete("q", "default").await.unwrap());
        assert!(cache.delete_in_context("q", "default", "c").await.unwrap());
    });
}

fn a_hundred_thousand_contexts_cost_little_memory() {
    const ENTRIES: usize = 100_000;
    /// Beside what the rows themselves take.
    const MOST_BYTES: usize = 300;
    let fill = |context: fn(usize) -> String| {
        let cache = open();
        for from in (0..ENTRIES).step_by(1_000) {
            let puts = (from..from + 1_000).map(|n| {
                let put = PutRequest::new(format!("question {n}"), "r").context(context(n));
                put.embedding(axis(n))
            });
            cache.put_many(puts.collect()).unwrap();
        }
        cache.warm_up().unwrap();
        cache
    };
    let one = fill(|_| "a context".into());
    let many = fill(|n| format!("conversation {n:064}"));
    for cache in [&one, &many] {
        assert_eq!(cache.stats(None).unwrap().index_rows, ENTRIES as u64);
    }
    let found = GetRequest::new("another").embedding(axis(7));
    let found = found.context(format!("conversation {:064}", 7));
    assert_eq!(many.get(found).unwrap().hit().unwrap().query, "question 7");
    let bytes = |cache: &SemanticCache| cache.memory_bytes().unwrap();
    let each = bytes(&many).saturating_sub(bytes(&one)) / ENTRIES;
    println!(
        "{each} bytes a context: {} and {}",
        bytes(&many),
        bytes(&one)
    );
    assert!(each < MOST_BYTES, "{each} bytes a context");
}
