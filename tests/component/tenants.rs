//! Tenants whose names are nearly the same, under random calls, on every store.
//!
//! A small model says what each call must answer. `MNEME_SEED` gives other calls; a failure names
//! its seed.

use mneme::checkpoint::{DumpOptions, ImportMode, Layout, LoadOptions};
use mneme::{
    Error, GetRequest, Layer, Lookup, ManualClock, MemoryStore, PutRequest, SemanticCache,
    SqliteStore, Ttl, store,
};
use mneme_store::{CapabilitySet, Store, for_each_operation};
use mneme_tests::embedders::{Words, axis};
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use mneme_tests::tenants::{names, refused};
use std::collections::BTreeMap;
use std::io::Seek;
use std::sync::Arc;
use std::time::Duration;

mneme_tests::tests![
    tenants_never_meet_in_memory,
    tenants_never_meet_in_sqlite,
    tenants_never_meet_in_redis,
    tenants_never_meet_in_postgres,
    tenants_never_meet_in_dynamodb,
];

/// Long past, so that no server expires an entry by a clock that is not the test's.
const EPOCH: u64 = 1_000_000;
/// Each tenant asks the same questions, each with its own axis for a vector.
const QUESTIONS: usize = 5;

fn tenants_never_meet_in_memory() {
    play("memory", Box::new(MemoryStore::new()), 4000);
}

fn tenants_never_meet_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(folder.path().join("tenants.db"));
    play("sqlite", Box::new(store), 4000);
}

fn tenants_never_meet_in_redis(server: Redis) {
    play("redis", Box::new(server.store("p")), 4000);
}

fn tenants_never_meet_in_postgres(server: Arc<Postgres>) {
    play("postgres", Box::new(server.store("tenants")), 4000);
}

fn tenants_never_meet_in_dynamodb(server: Arc<DynamoDb>) {
    let store = store::from_url(&server.url("tenants")).unwrap();
    play("dynamodb", store, 500);
}

/// A store that does not tell its server's time, which is not the test's.
struct Timeless(Box<dyn Store>);

macro_rules! passed_on {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> store::Result<$($result)*> {
            self.0.$name($($arg),*)
        })*
    };
}

impl Store for Timeless {
    fn capabilities(&self) -> CapabilitySet {
        self.0.capabilities()
    }

    for_each_operation!(passed_on![]);
}

/// An entry, as the model knows it.
#[derive(Clone, Debug)]
struct Row {
    id: u64,
    response: String,
    has_vector: bool,
    created: u64,
    used: u64,
    ttl: Option<u64>,
}

impl Row {
    fn is_expired(&self, now: u64) -> bool {
        self.ttl.is_some_and(|ttl| now >= self.created + ttl)
    }
}

/// What a cache of many tenants has to hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<(String, usize), Row>,
    quotas: BTreeMap<String, u64>,
}

impl Model {
    fn of<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = (usize, &'a Row)> {
        let rows = self.rows.iter();
        rows.filter(move |((of, _), _)| of == tenant)
            .map(|((_, question), row)| (*question, row))
    }

    fn tenants(&self) -> Vec<String> {
        let mut tenants: Vec<String> = self.rows.keys().map(|(of, _)| of.clone()).collect();
        tenants.dedup();
        tenants
    }

    /// Removes up to `most` rows of a tenant, the first by `order`, and returns how many.
    fn remove<K: Ord>(
        &mut self,
        tenant: &str,
        most: usize,
        is_meant: impl Fn(&Row) -> bool,
        order: impl Fn(&Row) -> K,
    ) -> usize {
        let mut meant: Vec<_> = self
            .of(tenant)
            .filter(|(_, row)| is_meant(row))
            .map(|(question, row)| (order(row), question))
            .collect();
        meant.sort_unstable();
        meant.truncate(most);
        for (_, question) in &meant {
            self.rows.remove(&(tenant.to_owned(), *question));
        }
        meant.len()
    }

    /// What goes because `stored` came: expired entries by their ids, then those used longest ago.
    fn enforce_quota(&mut self, tenant: &str, stored: u64, now: u64) {
        let Some(&quota) = self.quotas.get(tenant) else {
            return;
        };
        let beyond = |model: &Self| model.of(tenant).count().saturating_sub(quota as usize);
        let most = beyond(self);
        self.remove(tenant, most, |row| row.is_expired(now), |row| row.id);
        let most = beyond(self);
        let is_older = |row: &Row| row.id != stored;
        self.remove(tenant, most, is_older, |row| (row.used, row.id));
    }
}

/// A cache, and the model that it is held against.
struct Play {
    cache: SemanticCache,
    clock: ManualClock,
    now: u64,
    model: Model,
    random: fastrand::Rng,
    names: Vec<String>,
    version: u64,
}

fn question(n: usize) -> String {
    format!("Question {n}")
}

/// Makes random calls of all tenants on one store.
fn play(what: &str, store: Box<dyn store::Store>, calls: usize) {
    let seed = std::env::var("MNEME_SEED").map_or(83, |seed| seed.parse().expect("a number"));
    let clock = ManualClock::at(EPOCH);
    let cache = mneme_tests::builder()
        .store(Timeless(store))
        .embedder(Words)
        .clock(clock.clone())
        .open()
        .unwrap();
    let names = names();
    let mut play = Play {
        cache,
        clock,
        now: EPOCH,
        model: Model::default(),
        random: fastrand::Rng::with_seed(seed),
        names,
        version: 0,
    };
    println!("{what}: MNEME_SEED={seed}, {} tenants", play.names.len());
    // Each has something that others might find.
    for n in 0..play.names.len() {
        play.put(n, n % QUESTIONS);
    }
    for call in 0..calls {
        let tenant = play.random.usize(..play.names.len());
        let question = play.random.usize(..QUESTIONS);
        match play.random.u32(..1000) {
            0..330 => play.put(tenant, question),
            330..550 => play.get_exactly(tenant, question),
            550..770 => play.get_by_meaning(tenant, question),
            770..830 => play.delete(tenant, question),
            830..860 => play.clear_one(tenant),
            860..910 => play.set_quota(tenant),
            910..940 => play.vacuum(tenant),
            940..980 => play.count(tenant),
            980..990 => play.reopen(),
            990..992 => play.clear_all(),
            _ => play.move_one(tenant),
        }
        if call % 500 == 0 {
            play.refuse();
        }
    }
    play.reopen();
    for tenant in 0..play.names.len() {
        for question in 0..QUESTIONS {
            play.get_exactly(tenant, question);
        }
        play.count(tenant);
    }
    play.refuse();
    assert!(play.cache.health(true).unwrap().healthy);
}

impl Play {
    /// A second passes, so that no two entries were used at the same time.
    fn tick(&mut self) {
        self.now += 1;
        self.clock.set(Duration::from_secs(self.now));
    }

    fn put(&mut self, tenant: usize, n: usize) {
        self.tick();
        let name = self.names[tenant].clone();
        self.version += 1;
        let response = format!("of {tenant}, {n}, {}", self.version);
        let has_vector = self.random.u32(..5) > 0;
        let ttl = (self.random.u32(..4) == 0).then(|| self.random.u64(1..400));
        let request = PutRequest::new(question(n), &response)
            .namespace(&name)
            .ttl(ttl.map_or(Ttl::Unlimited, Ttl::Seconds));
        let stored = self.cache.put(match has_vector {
            true => request.embedding(axis(n)),
            false => request.exact_only(),
        });
        if self.model.quotas.get(&name) == Some(&0) {
            assert!(
                matches!(stored, Err(Error::QuotaExceeded(_))),
                "{name:?}: {stored:?}"
            );
            return;
        }
        let id = stored.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let row = Row {
            id,
            response,
            has_vector,
            created: self.now,
            used: self.now,
            ttl,
        };
        let is_taken = self.model.rows.iter().any(|((of, question), other)| {
            other.id == id && (of.as_str(), *question) != (name.as_str(), n)
        });
        assert!(!is_taken, "{name:?}: {id} is another entry's");
        if let Some(replaced) = self.model.rows.insert((name.clone(), n), row) {
            assert_eq!(replaced.id, id, "{name:?}: it was replaced");
        }
        self.model.enforce_quota(&name, id, self.now);
    }

    fn get_exactly(&mut self, tenant: usize, n: usize) {
        let request = GetRequest::new(question(n).to_lowercase());
        self.get(tenant, n, request, Layer::Exact);
    }

    fn get_by_meaning(&mut self, tenant: usize, n: usize) {
        let request = GetRequest::new(format!("in other words {n}"));
        self.get(tenant, n, request, Layer::Semantic);
    }

    fn get(&mut self, tenant: usize, n: usize, request: GetRequest, layer: Layer) {
        self.tick();
        let name = self.names[tenant].clone();
        let asked = request.namespace(&name).embedding(axis(n)).threshold(0.9);
        let lookup = self.cache.get(asked).unwrap();
        let key = (name.clone(), n);
        let row = self.model.rows.get(&key).cloned();
        let found = row.filter(|row| layer == Layer::Exact || row.has_vector);
        let is_expired = |row: &Row| row.is_expired(self.now);
        match (lookup, found) {
            (Lookup::Hit(hit), Some(row)) if !is_expired(&row) => {
                assert_eq!(
                    (hit.id, &hit.response, hit.layer, hit.query),
                    (row.id, &row.response, layer, question(n)),
                    "{name:?}"
                );
                self.model.rows.get_mut(&key).unwrap().used = self.now;
            }
            (Lookup::Miss(_), Some(row)) if is_expired(&row) => {
                self.model.rows.remove(&key);
            }
            (Lookup::Miss(_), None) => {}
            (lookup, found) => panic!("{name:?}, {n}: {lookup:?} instead of {found:?}"),
        }
    }

    fn delete(&mut self, tenant: usize, n: usize) {
        self.tick();
        let name = &self.names[tenant];
        let was_there = self.model.rows.remove(&(name.clone(), n)).is_some();
        let deleted = self.cache.delete(&question(n), name).unwrap();
        assert_eq!(deleted, was_there, "{name:?}, {n}");
    }

    fn clear_one(&mut self, tenant: usize) {
        let name = &self.names[tenant];
        let gone = self.model.remove(name, usize::MAX, |_| true, |row| row.id);
        let cleared = self.cache.clear_namespace(name).unwrap();
        assert_eq!(cleared, gone as u64, "{name:?}");
    }

    fn clear_all(&mut self) {
        let rows = std::mem::take(&mut self.model.rows);
        assert_eq!(self.cache.clear().unwrap(), rows.len() as u64);
    }

    fn set_quota(&mut self, tenant: usize) {
        let name = &self.names[tenant];
        let quota = (self.random.u32(..3) > 0).then(|| self.random.u64(..4));
        self.cache.set_namespace_quota(name, quota).unwrap();
        match quota {
            Some(quota) => self.model.quotas.insert(name.clone(), quota),
            None => self.model.quotas.remove(name),
        };
    }

    fn vacuum(&mut self, tenant: usize) {
        self.tick();
        let (name, now) = (&self.names[tenant], self.now);
        let gone = self
            .model
            .remove(name, usize::MAX, |row| row.is_expired(now), |row| row.id);
        let vacuumed = self.cache.vacuum(Some(name), true).unwrap();
        assert_eq!(vacuumed, gone as u64, "{name:?}");
    }

    /// What is counted and listed, of one tenant and of all.
    fn count(&mut self, tenant: usize) {
        let name = &self.names[tenant];
        let one = self.cache.stats(Some(name)).unwrap();
        assert_eq!(one.entries, self.model.of(name).count() as u64, "{name:?}");
        let quota = self.cache.namespace_quota(name).unwrap();
        assert_eq!(quota, self.model.quotas.get(name).copied(), "{name:?}");
        self.agrees();
    }

    /// That all tenants, how many entries they have and their quotas are those of the model.
    fn agrees(&self) {
        let mut expected: BTreeMap<String, (u64, Option<u64>)> = BTreeMap::new();
        for (tenant, _) in self.model.rows.keys() {
            expected.entry(tenant.clone()).or_default().0 += 1;
        }
        for (tenant, quota) in &self.model.quotas {
            expected.entry(tenant.clone()).or_default().1 = Some(*quota);
        }
        let all = self.cache.stats(None).unwrap();
        // Of some, only counters are left.
        let told: BTreeMap<String, (u64, Option<u64>)> = all
            .namespaces
            .into_iter()
            .filter(|of| of.entries > 0 || of.quota.is_some())
            .map(|of| (of.namespace, (of.entries, of.quota)))
            .collect();
        for tenant in told.keys().chain(expected.keys()) {
            assert_eq!(told.get(tenant), expected.get(tenant), "{tenant:?}");
        }
        assert_eq!(all.entries, self.model.rows.len() as u64);
        let listed = self.cache.list_namespaces().unwrap();
        assert!(listed == self.model.tenants(), "{listed:?}");
    }

    /// Opens the cache again: from now on it has what the store has.
    fn reopen(&mut self) {
        self.cache.flush().unwrap();
        self.cache.reopen().unwrap();
        self.agrees();
    }

    /// Takes one tenant out of an archive of all: into an empty cache, and under another name
    /// beside itself.
    fn move_one(&mut self, tenant: usize) {
        let name = self.names[tenant].clone();
        let options = match self.random.bool() {
            true => DumpOptions::new(),
            false => DumpOptions::new().layout(Layout::Portable),
        };
        let file = tempfile::tempfile().unwrap();
        let (_, mut archive) = self.cache.dump(file, options).unwrap();
        let mut again = || {
            archive.rewind().unwrap();
            archive.try_clone().unwrap()
        };
        let only = || LoadOptions::new().namespaces([&name]);
        let other = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Words)
            .clock(self.clock.clone())
            .open()
            .unwrap();
        let mine: Vec<(usize, Row)> = self
            .model
            .of(&name)
            .map(|(question, row)| (question, row.clone()))
            .collect();
        if mine.is_empty() {
            // What an archive does not have is told, and nobody else's comes instead.
            let nothing = other.load(again(), only());
            let has_quota = self.model.quotas.contains_key(&name);
            match nothing {
                Ok(report) => assert!(has_quota && report.entries == 0, "{name:?}"),
                Err(error) => assert!(matches!(error, Error::InvalidArgument(_)), "{error}"),
            }
            assert!(other.list_namespaces().unwrap().is_empty());
            return;
        }
        let loaded = other.load(again(), only()).unwrap();
        assert_eq!(loaded.entries, mine.len() as u64, "{name:?}");
        let listed = other.list_namespaces().unwrap();
        assert_eq!(listed, [name.as_str()]);
        assert_eq!(
            other.namespace_quota(&name).unwrap(),
            self.model.quotas.get(&name).copied()
        );
        let moved = format!("moved {name}");
        let beside = only().mode(ImportMode::Merge).namespace_prefix("moved ");
        let outcome = self.cache.load(again(), beside);
        if moved.len() > 1024 {
            assert!(
                matches!(
                    outcome,
                    Err(Error::InvalidArgument(_) | Error::Checkpoint(_))
                ),
                "{name:?}: {outcome:?}"
            );
            return self.agrees();
        }
        outcome.unwrap();
        for (cache, space) in [(&other, &name), (&self.cache, &moved)] {
            for n in 0..QUESTIONS {
                let asked = GetRequest::new(question(n))
                    .namespace(space)
                    .embedding(axis(n))
                    .threshold(0.9);
                let hit = cache.get(asked).unwrap().hit().map(|hit| hit.response);
                let expected = mine
                    .iter()
                    .find(|(of, row)| *of == n && !row.is_expired(self.now));
                assert_eq!(
                    hit,
                    expected.map(|(_, row)| row.response.clone()),
                    "{space:?}"
                );
            }
        }
        self.cache.clear_namespace(&moved).unwrap();
        self.cache.set_namespace_quota(&moved, None).unwrap();
        self.agrees();
    }

    /// Names that no tenant may have are refused by each call, and change nothing.
    fn refuse(&self) {
        for name in refused() {
            let name = name.as_str();
            let put = PutRequest::new("q", "r").namespace(name).embedding(axis(0));
            let get = GetRequest::new("q").namespace(name).embedding(axis(0));
            let cache = &self.cache;
            for (call, outcome) in [
                ("put", cache.put(put).map(drop)),
                ("get", cache.get(get.clone()).map(drop)),
                ("explain", cache.explain(get, 3).map(drop)),
                ("delete", cache.delete("q", name).map(drop)),
                ("clear_namespace", cache.clear_namespace(name).map(drop)),
                ("vacuum", cache.vacuum(Some(name), false).map(drop)),
                ("stats", cache.stats(Some(name)).map(drop)),
                ("namespace_quota", cache.namespace_quota(name).map(drop)),
                (
                    "set_namespace_quota",
                    cache.set_namespace_quota(name, Some(1)),
                ),
                ("no quota", cache.set_namespace_quota(name, None)),
            ] {
                assert!(
                    matches!(&outcome, Err(Error::InvalidArgument(why)) if why.contains("namespace")),
                    "{call} of a name of {} bytes: {outcome:?}",
                    name.len()
                );
            }
        }
        self.agrees();
    }
}
