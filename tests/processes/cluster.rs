//! Ten processes on one Redis Cluster. One fail-over is asked for in mid-load, and one master is killed.
//!
//! Redis hands writes on to replicas after it has acknowledged them, so a master that dies takes the last
//! ones with it. What was answered may therefore be gone, or be an earlier answer; no answer is ever wrong.

use super::servers::{LONGEST, namespace, open_cache, open_store, persist, query, reworded, told};
use mneme::{GetRequest, PutRequest};
use mneme_tests::children::{Running, argument, say};
use mneme_tests::servers::redis::cluster::Cluster;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mneme_tests::tests![ten_processes_survive_fail_overs_of_a_cluster];

mneme_tests::children![child_writes_on, child_reads_on];

const WRITERS: u64 = 4;
const READERS: u64 = 6;
/// Keys of each writer.
const KEYS: u64 = 20;
/// How much each process does before and after each fail-over.
const CALLS: u64 = 100;
/// How much a process does before it says so.
const OFTEN: u64 = 10;

/// Puts until it is told to stop, then puts every key once more: `did N` in between, and in the end
/// `failures N` and `last N`.
fn child_writes_on() {
    let cache = open_cache(&argument("URL"));
    let writer: u64 = argument("NAME").parse().unwrap();
    let stop = told();
    let mut failures = 0;
    let mut put = |version: u64| {
        let key = version % KEYS;
        persist(&mut failures, || {
            let answer = format!("{writer} {key} {version}");
            cache.put(PutRequest::new(query(key), answer).namespace(namespace(writer)))
        });
    };
    let mut version = 0;
    while !stop.load(Ordering::SeqCst) {
        version += 1;
        put(version);
        if version % OFTEN == 0 {
            say(&format!("did {version}"));
        }
    }
    let last = version + KEYS;
    (version + 1..=last).for_each(&mut put);
    say(&format!("failures {failures}"));
    say(&format!("last {last}"));
    persist(&mut failures, || cache.flush());
    cache.close().unwrap();
}

/// Asks until it is told to stop: every answer must be one to its question.
fn child_reads_on() {
    let cache = open_cache(&argument("URL"));
    let name: u64 = argument("NAME").parse().unwrap();
    let stop = told();
    let (mut failures, mut hits) = (0, 0);
    for n in name.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let (writer, key) = (n % WRITERS, n / 7 % KEYS);
        let text = match n % 2 {
            0 => query(key),
            _ => reworded(key),
        };
        let lookup = persist(&mut failures, || {
            cache.get(GetRequest::new(&text).namespace(namespace(writer)))
        });
        if let Some(hit) = lookup.hit() {
            let begins = format!("{writer} {key} ");
            assert!(
                hit.response.starts_with(&begins),
                "{text:?}: {:?}",
                hit.response
            );
            hits += 1;
        }
        if n % OFTEN == 0 {
            say(&format!("did {n}"));
        }
    }
    assert!(hits > 0, "nothing was found");
    say(&format!("failures {failures}"));
    cache.close().unwrap();
}

/// What a process has said.
#[derive(Default)]
struct Said {
    did: AtomicU64,
    failures: AtomicU64,
    last: AtomicU64,
    ended: AtomicBool,
}

impl Said {
    fn note(&self, line: &str) {
        let (what, number) = line.split_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        match what {
            "did" => drop(self.did.fetch_add(OFTEN, Ordering::SeqCst)),
            "failures" => self.failures.store(number, Ordering::SeqCst),
            "last" => self.last.store(number, Ordering::SeqCst),
            _ => panic!("a process said {line:?}"),
        }
    }
}

/// Waits until every process has done so much more.
fn all_go_on(processes: &[Said], after: &str) {
    let before: Vec<u64> = processes
        .iter()
        .map(|one| one.did.load(Ordering::SeqCst))
        .collect();
    let start = Instant::now();
    loop {
        let mut all = processes.iter().zip(&before);
        let goes_on = |(one, before): (&Said, &u64)| {
            assert!(!one.ended.load(Ordering::SeqCst), "a process ended {after}");
            one.did.load(Ordering::SeqCst) >= before + CALLS
        };
        if all.all(goes_on) {
            return;
        }
        assert!(
            start.elapsed() < LONGEST,
            "not every process goes on {after}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ten_processes_survive_fail_overs_of_a_cluster(mut cluster: Cluster) {
    let url = cluster.url(&[0, 3, 5]);
    let start =
        |test: &str, n: u64| Running::named(test, &[("URL", &url), ("NAME", &n.to_string())]);
    let mut running: Vec<Running> = (0..WRITERS).map(|n| start("child_writes_on", n)).collect();
    running.extend((0..READERS).map(|n| start("child_reads_on", n)));
    let said: Vec<Said> = running.iter().map(|_| Said::default()).collect();
    let mut inputs: Vec<_> = running.iter_mut().map(Running::take_input).collect();
    std::thread::scope(|scope| {
        for (process, said) in running.iter_mut().zip(&said) {
            scope.spawn(|| {
                while let Some(line) = process.line() {
                    said.note(&line);
                }
                said.ended.store(true, Ordering::SeqCst);
            });
        }
        all_go_on(&said, "at first");
        // The keys of a cache are in one slot.
        let key = "{mneme}:version";
        let replica = cluster.replica_of(cluster.owner(key));
        let asked: String = cluster.nodes[replica]
            .client()
            .run(&["CLUSTER", "FAILOVER"]);
        assert_eq!(asked, "OK");
        let start = Instant::now();
        while cluster.owner(key) != replica {
            assert!(start.elapsed() < LONGEST, "the replica does not take over");
            std::thread::sleep(Duration::from_millis(20));
        }
        all_go_on(&said, "after the fail-over that was asked for");
        cluster.nodes[replica].kill();
        all_go_on(&said, "after the death of the master");
        // A closed pipe tells them.
        inputs.clear();
    });
    for process in running {
        process.finish();
    }
    let failures: u64 = said
        .iter()
        .map(|one| one.failures.load(Ordering::SeqCst))
        .sum();
    println!("{failures} failed calls");
    assert!(failures > 0, "nobody noticed the death of the master");

    let mut store = open_store(&url);
    let rows = store.iter_since(0, 10_000).unwrap();
    let found: BTreeMap<(String, String), String> = rows
        .into_iter()
        .map(|row| ((row.namespace, row.query), row.response))
        .collect();
    let mut expected = BTreeMap::new();
    for (writer, said) in (0..WRITERS).zip(&said) {
        let last = said.last.load(Ordering::SeqCst);
        for version in last + 1 - KEYS..=last {
            let key = version % KEYS;
            let answer = format!("{writer} {key} {version}");
            expected.insert((namespace(writer), query(key)), answer);
        }
    }
    assert_eq!(found, expected);
    assert!(store.integrity_check().unwrap());
}
