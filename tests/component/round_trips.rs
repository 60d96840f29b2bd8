//! How many round trips to the server a call of the cache costs.

use mneme::{GetRequest, PutRequest, SemanticCache, store};
use mneme_tests::embedders::Words;
use mneme_tests::proxy::Proxy;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;

mneme_tests::tests![redis, postgres,];

fn query(n: u64) -> String {
    format!("alpha{n} beta{n} gamma{n}")
}

/// Means the same as [`query`], and is found by the semantic layer only.
fn reworded(n: u64) -> String {
    format!("gamma{n} alpha{n} beta{n}")
}

fn requests(from: u64) -> impl Iterator<Item = PutRequest> {
    (from..from + 1_000).map(|n| PutRequest::new(query(n), format!("answer {n}")))
}

fn open(url: &str) -> SemanticCache {
    mneme_tests::builder()
        .boxed_store(store::from_url(url).unwrap())
        .embedder(Words)
        .open()
        .unwrap()
}

/// Counts on a store reached through a proxy. `write` is how many round trips one write of
/// the store takes.
fn count_round_trips(proxy: &Proxy, url: &str, write: u64) {
    let rows = 5_000;
    let filler = open(url);
    // The first write of a connection prepares its statements, or loads its script, and the
    // first of a cache asks for the quotas.
    filler.put_many(requests(0).collect()).unwrap();
    let requests =
        |from: u64| (from..from + 1_000).map(|n| PutRequest::new(query(n), format!("answer {n}")));
    for batch in 0..rows / 1_000 {
        let put = || filler.put_many(requests(batch * 1_000).collect()).unwrap();
        let (trips, ids) = proxy.count(put);
        assert_eq!(ids.len(), 1_000);
        // The server begins to answer a long request before it has all of it.
        // In four steps, between which others are served.
        assert!(trips <= 4 * write + 6, "1,000 puts in a batch: {trips}");
    }
    filler.close().unwrap();

    let cache = open(url);
    let ask = |text: String| proxy.count(|| cache.get(GetRequest::new(text)).unwrap());
    cache.put(PutRequest::new("first", "first")).unwrap();
    ask(query(1));
    let (trips, lookup) = ask(query(2));
    assert_eq!((trips, lookup.is_hit()), (1, true), "an exact hit");

    // The version, whether an index is kept, how many entries there are, pages of a thousand rows, the
    // answer; a statement that is new to the connection takes one more.
    let (trips, lookup) = ask(reworded(3));
    assert!(lookup.is_hit());
    assert!(trips <= 7 + rows / 1_000, "the first semantic hit: {trips}");
    let (trips, lookup) = ask(reworded(4));
    assert_eq!((trips, lookup.is_hit()), (2, true), "a semantic hit");
    let (trips, lookup) = ask("something else entirely".into());
    assert_eq!((trips, lookup.is_hit()), (1, false), "a miss");

    for (n, what) in [(5, "a replacement"), (1_000_000, "a put")] {
        let put = || cache.put(PutRequest::new(query(n), "new")).unwrap();
        let (trips, _) = proxy.count(put);
        assert!(trips <= write, "{what}: {trips}");
    }
    let delete = |n| cache.delete(&query(n), "default").unwrap();
    assert!(delete(6));
    let (trips, deleted) = proxy.count(|| delete(7));
    assert!(deleted && trips <= 1 + write, "a delete: {trips}");
    cache.flush().unwrap();
    ask(query(8));
    let (trips, ()) = proxy.count(|| cache.flush().unwrap());
    assert!(
        trips <= 2 * write + 2,
        "writing access data and counters: {trips}"
    );
    cache.close().unwrap();
}

fn redis(server: Redis) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    count_round_trips(&proxy, &url, 1);
}

fn postgres(server: Postgres) {
    let proxy = Proxy::start(server.port()).unwrap();
    let own = format!(":{}/", server.port());
    let url = server.url().replace(&own, &format!(":{}/", proxy.port()));
    count_round_trips(&proxy, &url, 2);
}
