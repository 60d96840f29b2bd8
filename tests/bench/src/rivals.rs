//! The peers of one cell.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::Progress;
use crate::corpus::{Corpus, Query, part};
use crate::peer::{Kind, Lookups, Opened, Peer, PeerError};
use crate::tally::{Side, Work};

/// The ef of usearch's default and of hnswlib's use in mneme-cache.
const USEARCH_EF: u32 = 64;
const HNSWLIB_EF: u32 = 50;
/// The ef that are tried for a recall.
const EFS: [u32; 16] = [
    50, 70, 100, 140, 200, 280, 400, 560, 800, 1100, 1600, 2200, 3200, 4500, 6400, 10_000,
];
/// Peers that take longer to open are not opened again.
const OPENING: Duration = Duration::from_secs(20);

/// A peer, and what it did: an index with several ef has several sides.
pub struct Rival {
    pub peer: Peer,
    pub sides: Vec<Side>,
    opening: Duration,
}

/// The peers. One that fails is left out from then on, unless all are required.
pub struct Rivals<'a> {
    list: Vec<Rival>,
    /// What those did that failed later.
    lost: Vec<Side>,
    required: bool,
    notes: &'a mut Vec<String>,
}

/// What to start peers with.
pub struct Start<'a> {
    pub python: &'a Path,
    pub kinds: &'a [Kind],
    pub corpus: &'a Corpus,
    pub folder: &'a Path,
    pub dtype: &'static str,
    pub namespaces: Option<usize>,
    /// Whether the first opening counts as work.
    pub opens: bool,
}

impl<'a> Rivals<'a> {
    /// No peers.
    pub fn none(required: bool, notes: &'a mut Vec<String>) -> Self {
        Self {
            list: Vec::new(),
            lost: Vec::new(),
            required,
            notes,
        }
    }

    /// Starts, fills and opens peers.
    pub fn start(
        &mut self,
        with: &Start<'_>,
        versions: &mut Map<String, Value>,
        progress: &Progress,
    ) -> Result<()> {
        for &kind in with.kinds {
            progress.step(&format!("filling {}", kind.name()));
            match Rival::start(kind, with, versions) {
                Ok(rival) => self.list.push(rival),
                Err(error) => self.failed(error)?,
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: anyhow::Error) -> Result<()> {
        match error.downcast_ref::<PeerError>() {
            Some(PeerError(why)) if !self.required => {
                self.notes.push(format!("left out: {why}"));
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Does something with each of them.
    pub fn each(&mut self, mut work: impl FnMut(&mut Rival) -> Result<()>) -> Result<()> {
        for mut rival in std::mem::take(&mut self.list) {
            match work(&mut rival) {
                Ok(()) => self.list.push(rival),
                Err(error) => {
                    self.failed(error)?;
                    self.lost.append(&mut rival.sides);
                }
            }
        }
        Ok(())
    }

    /// What they did.
    pub fn finish(self) -> Vec<Side> {
        let sides = self.list.into_iter().flat_map(|rival| rival.sides);
        sides.chain(self.lost).collect()
    }
}

impl Rival {
    fn start(kind: Kind, with: &Start<'_>, versions: &mut Map<String, Value>) -> Result<Self> {
        let store = with.folder.join(format!("{}.db", kind.name()));
        let (peer, ran) = Peer::start(with.python, kind, with.corpus, &store, with.dtype)?;
        if let Value::Object(ran) = ran {
            versions.extend(ran);
        }
        let sides = match kind {
            Kind::MnemeCache => vec![Side::new("mneme-cache numpy")],
            Kind::MnemeCacheHnsw => vec![Side::new("mneme-cache hnswlib")],
            Kind::Usearch => vec![beam(format!("usearch ef={USEARCH_EF}"), USEARCH_EF)],
            Kind::Hnswlib => vec![beam(format!("hnswlib ef={HNSWLIB_EF}"), HNSWLIB_EF)],
        };
        let mut rival = Self {
            peer,
            sides,
            opening: Duration::ZERO,
        };
        let entries = with.corpus.entries;
        let built = if kind.is_cache() {
            let arguments = json!({"entries": entries, "namespaces": with.namespaces});
            rival.peer.call::<()>("fill", arguments)?;
            let query = &with.corpus.hits[0];
            rival.connect(0, query, with.namespaces, with.opens)?.open
        } else {
            rival.peer.call("build", json!({"entries": entries}))?
        };
        let grown = rival.peer.call("grown", json!({}))?;
        for side in &mut rival.sides {
            side.add(Work::Build, [built]);
            side.memory = grown;
        }
        Ok(rival)
    }

    fn connect(
        &mut self,
        exact: usize,
        query: &Query,
        namespaces: Option<usize>,
        counts: bool,
    ) -> Result<Opened> {
        let arguments =
            json!({"exact": exact, "row": query.row, "namespaces": namespaces, "tenant": exact});
        let opened: Opened = self.peer.call("open", arguments)?;
        self.opening += Duration::from_nanos(opened.open);
        if counts {
            let side = &mut self.sides[0];
            side.add(Work::OpenExact, [opened.open + opened.exact]);
            // It keeps no index.
            side.add(Work::Open, [opened.open + opened.semantic]);
            side.add(Work::OpenPersisted, [opened.open + opened.semantic]);
        }
        Ok(opened)
    }

    /// Closes a cache and opens it again, unless that takes too long.
    pub fn reopen(&mut self, exact: usize, query: &Query) -> Result<()> {
        if !self.peer.kind.is_cache() || self.opening > OPENING {
            return Ok(());
        }
        self.peer.call::<()>("close", json!({}))?;
        self.connect(exact, query, None, true)?;
        Ok(())
    }

    /// Finds the least ef with which an index of hnswlib finds as many nearest entries as
    /// asked for, and adds it as a side. Where none does, the greatest is taken.
    pub fn match_recall(&mut self, corpus: &Corpus, recall: f64) -> Result<()> {
        if self.peer.kind != Kind::Hnswlib {
            return Ok(());
        }
        let queries: Vec<Query> = corpus.hits.iter().chain(&corpus.misses).cloned().collect();
        let mut chosen = HNSWLIB_EF;
        for ef in EFS {
            self.peer.call::<()>("beam", json!({"ef": ef}))?;
            let found = self.peer.look_up(&queries, None, 0)?.found;
            chosen = ef;
            if right(corpus, &queries, &found)? as f64 >= recall * queries.len() as f64 {
                break;
            }
        }
        let mut side = beam("hnswlib equal-recall".into(), chosen);
        side.memory = self.sides[0].memory;
        side.work = self.sides[0].work.clone();
        self.sides.push(side);
        Ok(())
    }

    /// Exact look-ups, of a cache.
    pub fn exact(&mut self, rows: &[usize]) -> Result<()> {
        if self.peer.kind.is_cache() {
            let times: Vec<u64> = self.peer.call("exact", json!({"rows": rows}))?;
            self.sides[0].add(Work::ExactHit, times);
        }
        Ok(())
    }

    /// Semantic look-ups of a part by one of the sides, if there are so many.
    pub fn semantic(
        &mut self,
        corpus: &Corpus,
        work: Work,
        number: usize,
        side: usize,
    ) -> Result<()> {
        let Some(side) = self.sides.get_mut(side) else {
            return Ok(());
        };
        let queries = match work {
            Work::SemanticHit => &corpus.hits,
            _ => &corpus.misses,
        };
        let queries = part(queries, number);
        if let Some(ef) = side.ef {
            self.peer.call::<()>("beam", json!({"ef": ef}))?;
        }
        let lookups = self.peer.look_up(queries, None, 0)?;
        // A cache finds nothing where it misses.
        if work == Work::SemanticHit || !self.peer.kind.is_cache() {
            judge(side, work, corpus, queries, &lookups)?;
        }
        side.add(work, lookups.times);
        Ok(())
    }

    /// Semantic look-ups in one tenant, of a cache.
    pub fn tenant(&mut self, corpus: &Corpus, number: usize) -> Result<()> {
        if self.peer.kind.is_cache() {
            let tenant = &corpus.tenants[number];
            let namespaces = Some(corpus.namespaces);
            let lookups = self.peer.look_up(&tenant.hits, namespaces, tenant.number)?;
            judge(
                &mut self.sides[0],
                Work::TenantHit,
                corpus,
                &tenant.hits,
                &lookups,
            )?;
            self.sides[0].add(Work::TenantHit, lookups.times);
        }
        Ok(())
    }

    /// Puts the entries of these rows, into a cache.
    pub fn put(&mut self, rows: std::ops::Range<usize>) -> Result<()> {
        if self.peer.kind.is_cache() {
            let arguments = json!({"first": rows.start, "count": rows.len()});
            let times: Vec<u64> = self.peer.call("put", arguments)?;
            self.sides[0].add(Work::Put, times);
        }
        Ok(())
    }
}

fn beam(name: String, ef: u32) -> Side {
    Side {
        ef: Some(ef),
        ..Side::new(name)
    }
}

/// How many of the answers are the nearest entries.
pub fn right(corpus: &Corpus, queries: &[Query], found: &[Option<usize>]) -> Result<u64> {
    let mut right = 0;
    for (query, found) in queries.iter().zip(found) {
        if let &Some(entry) = found
            && entry < corpus.entries
            && corpus.is_nearest(query, entry)?
        {
            right += 1;
        }
    }
    Ok(right)
}

/// Counts the right answers.
pub fn judge(
    side: &mut Side,
    work: Work,
    corpus: &Corpus,
    queries: &[Query],
    lookups: &Lookups,
) -> Result<()> {
    let right = right(corpus, queries, &lookups.found)?;
    side.judge(work, right, queries.len() as u64);
    Ok(())
}
