//! Whether this machine's clock agrees with the one that all writers of a storage share.
//!
//! An entry that is dated in the future would never expire, one that is dated in the past has expired
//! for everybody else, and by a clock that is ahead others' entries would have expired. So a cache
//! whose clock is wrong stores and loads nothing, and one whose clock is ahead removes nothing. A
//! store keeps any time, as its contract says: only the host knows both clocks.

use std::time::{Duration, Instant};

use crate::store::{BackendError, Result, Store, StoreError};

/// How far the clocks may be apart.
const TOLERANCE: Duration = Duration::from_secs(300);

/// How long a comparison holds, unless the clock has jumped.
const HOLDS: Duration = Duration::from_secs(60);

/// How far the clock may move from what has passed, before it counts as a jump.
const JUMP: Duration = Duration::from_secs(5);

/// The last comparison of the two clocks.
#[derive(Default)]
pub(crate) struct Punctual {
    agreed: Option<Agreed>,
}

struct Agreed {
    /// When, on a clock that never jumps.
    at: Instant,
    /// The time that this machine showed.
    shown: Duration,
}

/// How a clock is wrong, by the time that the server's shows.
enum Wrong {
    Ahead(Duration),
    Behind(Duration),
}

impl Punctual {
    /// For what stores entries. Fails where the clock, which shows `now`, is too far from the one of
    /// the store's server. Asks the server once a minute, and after a jump.
    pub fn check_storing(&mut self, now: Duration, store: &mut dyn Store) -> Result<()> {
        match self.compare(now, store) {
            Some(wrong) => Err(refusal(&wrong, now, store)),
            None => Ok(()),
        }
    }

    /// The same for what only asks which entries have expired: by a clock that is behind fewer have.
    pub fn check_expiring(&mut self, now: Duration, store: &mut dyn Store) -> Result<()> {
        match self.compare(now, store) {
            Some(wrong @ Wrong::Ahead(_)) => Err(refusal(&wrong, now, store)),
            Some(Wrong::Behind(_)) | None => Ok(()),
        }
    }

    /// The same for what deletes the expired. Where there is nothing, no clock does harm.
    pub fn check_deletion(&mut self, now: Duration, store: &mut dyn Store) -> Result<()> {
        let is_empty = |store: &mut dyn Store| {
            let first = store.iter_stamps(0, 1);
            first.is_ok_and(|page| page.ids.is_empty())
        };
        if self.holds(now) || is_empty(store) {
            return Ok(());
        }
        self.check_expiring(now, store)
    }

    fn compare(&mut self, now: Duration, store: &mut dyn Store) -> Option<Wrong> {
        if self.holds(now) {
            return None;
        }
        self.agreed = None;
        match store.server_time() {
            Ok(Some(server)) if now > server.saturating_add(TOLERANCE) => {
                return Some(Wrong::Ahead(server));
            }
            Ok(Some(server)) if now.saturating_add(TOLERANCE) < server => {
                return Some(Wrong::Behind(server));
            }
            // One that does not tell the time is no reason to store nothing. It is asked again in a
            // minute, not at every call.
            _ => {}
        }
        self.agreed = Some(Agreed {
            at: Instant::now(),
            shown: now,
        });
        None
    }

    /// Whether the last comparison still does.
    fn holds(&self, now: Duration) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| {
            let passed = agreed.at.elapsed();
            let expected = agreed.shown.saturating_add(passed);
            passed < HOLDS && now.abs_diff(expected) <= JUMP
        })
    }
}

fn refusal(wrong: &Wrong, now: Duration, store: &dyn Store) -> StoreError {
    let (server, side, harm) = match wrong {
        Wrong::Ahead(server) => (
            server,
            "ahead",
            "new entries would not expire in time, and others would seem to have expired",
        ),
        Wrong::Behind(server) => (
            server,
            "behind",
            "new entries would expire too early for everybody else",
        ),
    };
    StoreError::Backend(BackendError {
        message: format!(
            "the clock of this machine shows {} and that of the {} server {}, in seconds since 1970: {} s {side}, {harm}, so nothing was changed; set the clock of this machine",
            now.as_secs(),
            store.capabilities().name,
            server.as_secs(),
            now.as_secs().abs_diff(server.as_secs()),
        ),
        retryable: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{DumpOptions, ImportMode, LoadOptions};
    use crate::host::{Clock, ManualClock};
    use crate::{GetRequest, PutRequest, SemanticCache, Ttl, embedder::Precomputed};
    use mneme_store::checks::Embedder;
    use mneme_store::{CapabilitySet, MemoryStore, for_each_operation};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// A memory store with a clock, which counts how often it is asked.
    struct Timed(MemoryStore, ManualClock, Arc<AtomicU64>);

    macro_rules! timed {
        ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
            $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
                self.0.$name($($arg),*)
            })*
        };
    }

    #[deny(clippy::missing_trait_methods)]
    impl Store for Timed {
        fn capabilities(&self) -> CapabilitySet {
            self.0.capabilities()
        }

        fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
            self.0.recorded_embedder()
        }

        fn server_time(&mut self) -> Result<Option<Duration>> {
            self.2.fetch_add(1, SeqCst);
            Ok(Some(self.1.now()))
        }

        fn read_only(&self) -> Option<String> {
            self.0.read_only()
        }

        fn warnings(&self) -> Vec<String> {
            self.0.warnings()
        }

        for_each_operation!(timed![]);
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_servers_stores_nothing() {
        let (ours, theirs) = (ManualClock::at(10_000), ManualClock::at(10_000));
        let asked = Arc::new(AtomicU64::new(0));
        let cache = SemanticCache::builder()
            .store(Timed(
                MemoryStore::new(),
                theirs.clone(),
                Arc::clone(&asked),
            ))
            .embedder(Precomputed::new("v", 2))
            .clock(ours.clone())
            .open()
            .unwrap();
        let put = |query: &str| cache.put(PutRequest::new(query, "r").embedding(vec![1.0, 0.0]));
        for query in ["a", "b", "c"] {
            put(query).unwrap();
        }
        assert_eq!(asked.load(SeqCst), 1, "it is asked seldom");
        let lasting = PutRequest::new("lasting", "r").ttl(Ttl::Seconds(1000));
        cache.put(lasting.embedding(vec![0.0, 1.0])).unwrap();
        let (_, archive) = cache.dump(Vec::new(), DumpOptions::new()).unwrap();
        ours.set(Duration::from_secs(10_300));
        put("up to five minutes").unwrap();
        ours.set(Duration::from_secs(10_301));
        assert!(put("within the jump that is let pass").is_ok());
        ours.set(Duration::from_secs(370_000_000));
        let message = put("ten years").unwrap_err().to_string();
        for part in ["370000000", "10000", "set the clock of this machine"] {
            assert!(message.contains(part), "{message}");
        }
        // What is there still answers.
        assert!(cache.get(GetRequest::new("a")).unwrap().is_hit());
        let message = cache.vacuum(None, false).unwrap_err().to_string();
        assert!(
            message.contains("set the clock of this machine"),
            "{message}"
        );
        // Clearing depends on no clock, however it is done.
        for entries in [100, 200] {
            let many = (0..entries).map(|n| format!("{n}"));
            ours.set(Duration::from_secs(10_000));
            let many = many.map(|query| {
                let request = PutRequest::new(query, "r").namespace("many");
                request.embedding(vec![1.0, 0.0])
            });
            cache.put_many(many.collect()).unwrap();
            ours.set(Duration::from_secs(370_000_000));
            assert_eq!(cache.clear_namespace("many").unwrap(), entries);
        }
        assert!(cache.vacuum(None, false).is_err());
        // Taken for expired, it is not removed.
        assert!(!cache.get(GetRequest::new("lasting")).unwrap().is_hit());
        let merge = LoadOptions::new().mode(ImportMode::Merge);
        let loaded = cache.load(std::io::Cursor::new(archive), merge);
        let message = loaded.unwrap_err().to_string();
        assert!(
            message.contains("set the clock of this machine"),
            "{message}"
        );
        ours.set(Duration::from_secs(10_000));
        assert_eq!(cache.vacuum(None, false).unwrap(), 0);
        put("set right").unwrap();
        assert!(cache.get(GetRequest::new("lasting")).unwrap().is_hit());
    }

    #[test]
    fn a_clock_that_is_behind_the_servers_stores_nothing_and_may_delete() {
        let (ours, theirs) = (ManualClock::at(50_000), ManualClock::at(50_000));
        let cache = SemanticCache::builder()
            .store(Timed(MemoryStore::new(), theirs.clone(), Arc::default()))
            .embedder(Precomputed::new("v", 2))
            .clock(ours.clone())
            .open()
            .unwrap();
        let put = |query: &str| {
            let request = PutRequest::new(query, "r").embedding(vec![1.0, 0.0]);
            cache.put(request.ttl(Ttl::Seconds(100)))
        };
        let lasting = PutRequest::new("in time", "r").embedding(vec![1.0, 0.0]);
        cache.put(lasting).unwrap();
        let (_, archive) = cache.dump(Vec::new(), DumpOptions::new()).unwrap();
        ours.set(Duration::from_secs(49_700));
        put("up to five minutes").unwrap();
        ours.set(Duration::from_secs(49_600));
        // Twice, and after a deletion: no comparison of another kind is remembered.
        for _ in 0..2 {
            assert_eq!(cache.vacuum(None, false).unwrap(), 0);
            let message = put("late").unwrap_err().to_string();
            for part in ["49600", "50000", "400 s behind", "set the clock"] {
                assert!(message.contains(part), "{message}");
            }
        }
        let merge = LoadOptions::new().mode(ImportMode::Merge);
        let loaded = cache.load(std::io::Cursor::new(archive), merge);
        let message = loaded.unwrap_err().to_string();
        assert!(message.contains("behind"), "{message}");
        assert!(cache.get(GetRequest::new("in time")).unwrap().is_hit());
        assert!(cache.delete("in time", "default").unwrap());
        assert_eq!(cache.clear().unwrap(), 1);
        ours.set(Duration::from_secs(50_000));
        put("set right").unwrap();
    }
}
