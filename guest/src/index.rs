//! The vector index: which entries of a namespace and context may be similar enough.
//!
//! An exact scan over small integer codes rules out almost every row with a proof: see
//! [`projections`] for the bound. The other rows are compared in the chosen dtype. The index
//! reports candidates with an *upper bound* of their cosine; the cache computes the cosine from
//! the store's float32 vector. The index is derived data: it can be dropped at any time and built
//! again from the store.
//!
//! | module | holds |
//! |---|---|
//! | [`scales`] | the layout of codes, and the step of each |
//! | [`basis`] | the directions of the codes, and learning them |
//! | [`projections`] | codes along these directions, and the bound with its proof |
//! | [`rounding`] | the greatest errors of float32 sums |
//! | [`codes`] | codes of whole vectors, for int8 |
//! | [`scopes`] | which rows belong together: those of a namespace and context |
//! | [`rows`], [`block`] | the rows of a scope |
//! | [`vectors`], [`coded`] | the columns of a block: vectors, and their codes |
//! | [`persisted`] | the format of an index in the store |
//! | [`segment`], [`graph`] | approximate search of unchanged rows |
//! | [`room`] | what happens when memory is short |
//! | [`scan`] | a query in all its forms, and how many rows a search looked at |
//!
//! The inner loops are in [`mneme_kernels`].
//!
//! New rows are searched at once: until they have codes, they are compared in full.
//! [`Index::work`] learns the basis and encodes rows bit by bit.

pub mod basis;
pub mod block;
pub mod coded;
pub mod codes;
pub mod graph;
pub mod persisted;
pub mod projections;
pub mod room;
pub mod rounding;
pub mod rows;
pub mod scales;
pub mod scan;
pub mod scopes;
pub mod segment;
pub mod vectors;

use crate::error::Result;
use crate::types::{GraphOptions, IndexKind, VectorDtype};
use basis::{Basis, Learner, sample_rows};
use block::{Block, block_rows, stamp};
use graph::Searcher;
use rows::{Place, Rows};
pub use scan::{Found, Search};
use scan::{Query, Tally};
use scopes::{Scope, Scopes, digest};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Comparing fewer rows than this in full costs less than looking at codes.
const FEWEST_TO_LEARN_FROM: usize = 256;
/// A scope with fewer rows than this has no codes: comparing it in full costs little, and a codes'
/// own memory is as much as that of some rows.
const FEWEST_TO_ENCODE: usize = 64;
/// The basis is loose if heads let more than this share of the rows pass.
const LOOSE: f32 = 0.1;
/// So many scopes without rows are kept, and as many as there are others.
const FEWEST_TO_FREE: usize = 1024;
/// About how many bytes a tree needs for the scope of a row, and the number of a scope.
pub const PER_PLACED: usize = 64;
/// What encoding a block costs at least, in multiplications.
const PER_BLOCK: u64 = 1 << 16;
/// The weight of the last search in a rate.
const RATE_WEIGHT: f32 = 0.125;

/// After so many new rows it is looked whether memory is short.
const ROWS_BETWEEN_LOOKS: usize = 256;

/// The entry that a row stands for, and its version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// The entry's id.
    pub id: u64,
    /// See [`block::stamp`].
    pub stamp: u32,
    /// The number of its scope, for [`Index::remove_numbered`].
    pub scope: u32,
}

/// How far the memory of removed rows has been given back.
#[derive(Default)]
pub struct Compaction {
    scope: usize,
    /// The last id of the last block.
    last_id: Option<u64>,
}

/// The rows of all scopes.
pub struct Index {
    dim: usize,
    dtype: VectorDtype,
    /// The position in `spaces` of each scope that has rows, and of some that had.
    scopes: Scopes,
    spaces: Vec<Rows>,
    /// How often a scope has lost its last row since those without rows were freed.
    emptied: usize,
    /// The scope of each row whose context is not empty.
    placed: BTreeMap<u64, u32>,
    kind: IndexKind,
    graph: GraphOptions,
    searcher: Searcher,
    basis: Option<Rc<Basis>>,
    learner: Option<Learner>,
    /// [`FEWEST_TO_LEARN_FROM`], or fewer in tests.
    fewest_to_learn_from: usize,
    /// [`FEWEST_TO_ENCODE`], or fewer in tests.
    fewest_to_encode: usize,
    /// How many rows there are.
    live: usize,
    /// No row has, or had, a greater id.
    greatest: u64,
    /// How many rows there were when the basis was last learned, or learning failed.
    learned_rows: usize,
    /// How many rows have been added or replaced since.
    added: usize,
    /// Whether any block may lack codes of the present basis.
    unencoded: bool,
    /// The id after which vectors must be read from the store. None if all are in memory.
    absent_after: Option<u64>,
    /// Rows that have been added, replaced or removed since the index was stored.
    changes: usize,
    /// Rows that have been replaced, or added before others.
    replaced: usize,
    /// Entries that are left out because their vectors are not valid embeddings, with their namespaces.
    left_out: BTreeMap<u64, String>,
    /// Held until memory is short.
    reserve: Vec<u8>,
    /// Vectors have left memory because it was short.
    has_released: bool,
    /// The headroom, since memory was short for the first time.
    headroom: Option<usize>,
    /// The shares of the coded rows that heads, and all codes, have not ruled out lately.
    passed: f32,
    compared: f32,
}

impl Index {
    /// An index without rows for vectors of `dim` values.
    pub fn new(dim: u32, dtype: VectorDtype) -> Self {
        Index {
            dim: dim as usize,
            dtype,
            scopes: Scopes::default(),
            spaces: Vec::new(),
            emptied: 0,
            placed: BTreeMap::new(),
            kind: IndexKind::Exact,
            graph: GraphOptions {
                ef_search: 1,
                ef_construction: 1,
                heuristic: false,
            },
            searcher: Searcher::default(),
            basis: None,
            learner: None,
            fewest_to_learn_from: FEWEST_TO_LEARN_FROM,
            fewest_to_encode: FEWEST_TO_ENCODE,
            live: 0,
            greatest: 0,
            learned_rows: 0,
            added: 0,
            unencoded: false,
            absent_after: None,
            changes: 0,
            replaced: 0,
            left_out: BTreeMap::new(),
            reserve: Vec::new(),
            has_released: false,
            headroom: None,
            passed: 0.0,
            compared: 0.0,
        }
    }

    /// The index with these options for searching. Without them it is exact.
    pub fn searching(mut self, kind: IndexKind, graph: GraphOptions) -> Self {
        (self.kind, self.graph) = (kind, graph);
        self.take_kept_graphs();
        self
    }

    /// Adds a row for a unit vector. Replaces the row with the same id, which must be in the same
    /// scope.
    ///
    /// Errors: `index-unavailable` for want of memory, with nothing changed.
    pub fn add(&mut self, scope: Scope, id: u64, created_at: u64, vector: &[f32]) -> Result<()> {
        self.left_out.remove(&id);
        let number = self.number(scope);
        let rows = &mut self.spaces[number];
        if rows.last_id().is_some_and(|last| id <= last) {
            self.replaced += 1;
        }
        let before = rows.live();
        let basis = self.basis.as_ref();
        let basis = basis.filter(|_| before >= self.fewest_to_encode).cloned();
        let mut added = rows.add(id, created_at, vector, basis.as_ref());
        if added.is_err() && self.make_room() {
            let rows = &mut self.spaces[number];
            added = rows.add(id, created_at, vector, basis.as_ref());
        }
        let rows = &self.spaces[number];
        self.live = self.live + rows.live() - before;
        self.unencoded |= rows.live() == self.fewest_to_encode && self.basis.is_some();
        added.map_err(|_| self.no_memory())?;
        self.greatest = self.greatest.max(id);
        if !scope.context.is_empty() {
            self.placed.insert(id, number as u32);
        }
        self.added = self.added.saturating_add(1);
        self.changes = self.changes.saturating_add(1);
        if self.added.is_multiple_of(ROWS_BETWEEN_LOOKS) {
            self.hold_reserve();
            if !self.has_room(0) {
                self.make_room();
            }
        }
        Ok(())
    }

    /// Adds rows of one scope by ascending id, with their unit vectors one after another.
    /// Fastest for new rows that fill a block.
    pub fn add_page(
        &mut self,
        scope: Scope,
        ids: &[u64],
        created_at: &[u64],
        vectors: Vec<f32>,
    ) -> Result<()> {
        let number = self.number(scope);
        let rows = &self.spaces[number];
        let new = rows.last_id().is_none_or(|last| last < ids[0]);
        // Otherwise the last block, which still has room, takes the rows.
        let full = ids.len() == block_rows(self.dim);
        if new && full && self.left_out.is_empty() && self.dtype == VectorDtype::Float32 {
            let stamps = created_at.iter().copied().map(stamp).collect();
            let block = Block::of_float32(self.dim, ids.to_vec(), stamps, vectors);
            self.live += block.live();
            self.greatest = self.greatest.max(ids[ids.len() - 1]);
            self.spaces[number].append(block);
            if !scope.context.is_empty() {
                self.placed
                    .extend(ids.iter().map(|id| (*id, number as u32)));
            }
            self.added = self.added.saturating_add(ids.len());
            self.changes = self.changes.saturating_add(ids.len());
            self.unencoded = true;
            return Ok(());
        }
        for ((&id, &created_at), vector) in ids
            .iter()
            .zip(created_at)
            .zip(vectors.chunks_exact(self.dim))
        {
            self.add(scope, id, created_at, vector)?;
        }
        Ok(())
    }

    /// Removes a row of a namespace. False if there was none.
    pub fn remove(&mut self, namespace: &str, id: u64) -> bool {
        self.left_out.remove(&id);
        let placed = self.placed.get(&id).copied();
        match placed.or_else(|| self.scopes.plain(namespace)) {
            Some(number) => self.remove_numbered(number, id),
            None => false,
        }
    }

    /// Removes a row whose scope is not known. False if there was none.
    pub fn remove_anywhere(&mut self, id: u64) -> bool {
        self.left_out.remove(&id);
        if let Some(&number) = self.placed.get(&id) {
            return self.remove_numbered(number, id);
        }
        let is_there = |number: &u32| self.spaces[*number as usize].find(id).is_some();
        let found = self.scopes.all_plain().find(is_there);
        found.is_some_and(|number| self.remove_numbered(number, id))
    }

    /// As [`remove`](Self::remove), for the scope of a [`Stamp`].
    pub fn remove_numbered(&mut self, scope: u32, id: u64) -> bool {
        let rows = &mut self.spaces[scope as usize];
        let removed = rows.remove(id);
        self.emptied += usize::from(removed && rows.live() == 0);
        self.live -= usize::from(removed);
        self.changes = self.changes.saturating_add(usize::from(removed));
        self.placed.remove(&id);
        removed
    }

    /// Leaves out an entry whose vector is not a valid embedding.
    pub fn leave_out(&mut self, namespace: &str, id: u64) {
        self.remove(namespace, id);
        self.left_out.insert(id, namespace.to_owned());
    }

    /// The entries that are left out, with their namespaces.
    pub fn left_out(&self) -> &BTreeMap<u64, String> {
        &self.left_out
    }

    /// Forgets which entries are left out, or takes what was kept.
    pub fn set_left_out(&mut self, entries: BTreeMap<u64, String>) {
        self.left_out = entries;
    }

    /// Removes the rows of one namespace.
    pub fn clear_namespace(&mut self, namespace: &str) {
        self.left_out.retain(|_, name| name != namespace);
        for number in self.scopes.of_namespace(namespace) {
            let rows = &mut self.spaces[number as usize];
            for id in rows.blocks().iter().flat_map(Block::ids) {
                self.placed.remove(id);
            }
            self.live -= rows.live();
            self.emptied += usize::from(rows.live() > 0);
            self.changes = self.changes.saturating_add(rows.live());
            *rows = Rows::new(self.dim, self.dtype);
        }
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        let empty = Index::new(self.dim as u32, self.dtype);
        *self = empty.searching(self.kind, self.graph);
    }

    /// Goes on with a search for a unit vector in a scope, for about `budget` multiplications.
    /// False if it has ended. Meanwhile rows may come and go. Rows that were there when it began, and
    /// are there when it ends, are not missed.
    pub fn search(
        &mut self,
        scope: Scope,
        query: &[f32],
        search: &mut Search,
        mut budget: u64,
    ) -> bool {
        let Some(number) = self.scopes.get(scope) else {
            return false;
        };
        let rows = &self.spaces[number as usize];
        if search.after.is_some() && (search.replaced != self.replaced || rows.has_graphs()) {
            // It may have passed rows that have changed. Beginning again and again would not end.
            *search = Search::new(search.top.threshold, search.limit());
            budget = u64::MAX;
        }
        search.replaced = self.replaced;
        let mut tally = Tally::default();
        search.after = rows.search(
            &mut Query::new(query),
            &mut self.searcher,
            &mut search.top,
            &mut tally,
            search.after,
            budget,
        );
        self.learn_rates(tally);
        search.after.is_some()
    }

    /// A search in one part.
    #[cfg(any(test, feature = "testing"))]
    pub fn find(
        &mut self,
        scope: Scope,
        query: &[f32],
        threshold: f32,
        limit: usize,
    ) -> Vec<Found> {
        let mut search = Search::new(threshold, limit);
        assert!(!self.search(scope, query, &mut search, u64::MAX));
        search.into_found()
    }

    fn learn_rates(&mut self, tally: Tally) {
        // A few rows are not representative.
        if tally.coded < self.fewest_to_learn_from {
            return;
        }
        let share = |n: usize| n as f32 / tally.coded as f32;
        let compared = tally.compared.saturating_sub(tally.uncoded);
        self.passed += (share(tally.passed) - self.passed) * RATE_WEIGHT;
        self.compared += (share(compared) - self.compared) * RATE_WEIGHT;
    }

    /// Makes the index faster: learns a basis if that is due, and encodes rows. Takes about
    /// `budget` multiplications, or one block. False if nothing is left to do. No answer changes.
    pub fn work(&mut self, mut budget: u64) -> bool {
        while budget > 0 {
            if let Some(learner) = &mut self.learner {
                if let Some(basis) = learner.step(&mut budget) {
                    self.basis = Some(Rc::new(basis));
                    self.learner = None;
                    (self.passed, self.compared) = (0.0, 0.0);
                    self.unencoded = true;
                } else if budget > 0 {
                    self.learner = None;
                }
            } else if self.should_learn() {
                self.learned_rows = self.rows();
                self.added = 0;
                let sample = self.sample();
                self.learner = sample.and_then(|sample| Learner::new(self.dim, sample));
            } else if !self.encode(&mut budget) {
                return false;
            }
        }
        true
    }

    /// Whether the data has grown or changed so much that a new basis pays.
    fn should_learn(&self) -> bool {
        if self.added <= self.learned_rows {
            return false;
        }
        let full = sample_rows(self.dim);
        match self.basis {
            None => self.live >= self.fewest_to_learn_from,
            Some(_) if self.passed > LOOSE => true,
            // Counting takes its time where there are many scopes.
            Some(_) => {
                self.learned_rows < full && self.live >= full && self.resident_rows() >= full
            }
        }
    }

    /// Encodes blocks that lack codes of the present basis. False if there are none.
    fn encode(&mut self, budget: &mut u64) -> bool {
        let Some(basis) = self.basis.clone().filter(|_| self.unencoded) else {
            return false;
        };
        // Codes of many rows must not take the headroom, little by little.
        if self.headroom.is_some() && !self.has_room(self.block_code_bytes()) && self.make_room() {
            *budget = 0;
            return true;
        }
        let few = self.fewest_to_encode;
        let mut is_short = false;
        let spaces = self.spaces.iter_mut().filter(|rows| rows.live() >= few);
        let blocks = spaces.flat_map(Rows::blocks_mut);
        for block in blocks.filter(|block| block.is_resident() && !block.is_coded_in(&basis)) {
            if *budget == 0 {
                return true;
            }
            if !block.encode(&basis) {
                is_short = true;
                break;
            }
            let cost = block.rows() * basis.size() * self.dim;
            *budget = budget.saturating_sub(PER_BLOCK.max(cost as u64));
        }
        if is_short && self.make_room() {
            *budget = 0;
            return true;
        }
        // Without room, rows without codes are compared in full.
        self.unencoded = false;
        false
    }

    /// Whether it can be stored: an index of int8 without some of its vectors cannot.
    pub fn is_whole(&self) -> bool {
        !(self.has_released && self.dtype == VectorDtype::Int8)
    }

    /// The id after which vectors must be read from the store, for [`arrive`](Self::arrive).
    /// None if all are in memory.
    pub fn absent_after(&self) -> Option<u64> {
        self.absent_after
    }

    /// Adds a row from the store, whose vector may be absent here.
    pub fn arrive(&mut self, scope: Scope, id: u64, created_at: u64, vector: &[f32]) -> Result<()> {
        let number = self.number(scope);
        let rows = &mut self.spaces[number];
        if let Some(Place { block, row }) = rows.find(id) {
            let block = &mut rows.blocks_mut()[block];
            if block.stamps()[row] == stamp(created_at) && !block.is_dead(row) {
                return match block.is_resident() {
                    true => Ok(()),
                    false => block.arrive(row, vector).map_err(|_| self.no_memory()),
                };
            }
        }
        self.add(scope, id, created_at, vector)
    }

    /// Records that all vectors up to this id have arrived, or with none all vectors.
    ///
    /// Errors: `index-unavailable` for want of memory.
    pub fn arrived(&mut self, up_to: Option<u64>) -> Result<()> {
        let dtype = self.dtype;
        let mut blocks = self.spaces.iter_mut().flat_map(Rows::blocks_mut);
        let arrived = blocks.try_for_each(|block| {
            let last = block.ids().last().copied();
            match up_to.is_none() || last <= up_to {
                true => block.arrived(dtype),
                false => Ok(()),
            }
        });
        arrived.map_err(|_| self.no_memory())?;
        self.absent_after = up_to;
        self.unencoded = true;
        self.take_kept_graphs();
        Ok(())
    }

    /// Makes stored graphs part of the index, once the vectors are in memory.
    fn take_kept_graphs(&mut self) {
        if self.absent_after.is_some() {
            return;
        }
        for rows in &mut self.spaces {
            match self.kind {
                IndexKind::Hnsw => rows.take_kept_graphs(&self.graph),
                // A graph was faster at no number of rows: see `graph`.
                IndexKind::Auto | IndexKind::Exact | IndexKind::Store => {
                    rows.set_kept_graphs(Vec::new())
                }
            }
        }
    }

    /// Seals rows into one more graph, if the options ask for graphs. False if nothing is left to
    /// seal.
    ///
    /// Errors: `index-unavailable` for want of memory.
    pub fn seal(&mut self) -> Result<bool> {
        if self.kind != IndexKind::Hnsw {
            return Ok(false);
        }
        for rows in &mut self.spaces {
            if rows.seal(&self.graph)? {
                self.changes = self.changes.saturating_add(segment::SEGMENT_ROWS);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that no more vectors will arrive, for want of memory. Absent ones stay in the store.
    pub fn stop_arriving(&mut self) {
        for block in self.spaces.iter_mut().flat_map(Rows::blocks_mut) {
            block.stop_arriving();
        }
        self.absent_after = None;
        self.is_short();
    }

    /// Rows that have been added, replaced or removed since the index was stored.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Records that the index was stored with all but its later changes.
    pub fn kept(&mut self, changes: usize) {
        self.changes = self.changes.saturating_sub(changes);
    }

    /// Records that the stored index is gone: what there is counts as changed.
    pub fn is_not_kept(&mut self) {
        self.changes = usize::MAX;
    }

    /// Whether all rows that are to have codes have those of one basis, so that the index can be
    /// stored.
    pub fn is_encoded(&self) -> bool {
        let few = self.fewest_to_encode;
        self.basis.as_ref().is_some_and(|basis| {
            let spaces = self.spaces.iter().filter(|rows| rows.live() >= few);
            let mut blocks = spaces.flat_map(Rows::blocks);
            blocks.all(|block| block.is_coded_in(basis))
        })
    }

    /// How many rows a scope has.
    pub fn rows_in(&self, scope: Scope) -> usize {
        let number = self.scopes.get(scope);
        number.map_or(0, |number| self.spaces[number as usize].live())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.live
    }

    /// Rows that have codes.
    pub fn coded_rows(&self) -> usize {
        self.count(|block| block.coded().is_some())
    }

    /// Rows whose vectors are in memory, or their int8 codes.
    pub fn resident_rows(&self) -> usize {
        self.count(Block::is_resident)
    }

    /// Rows that are in graphs.
    pub fn graph_rows(&self) -> usize {
        self.count(|block| block.sealed.is_some())
    }

    /// The share of the coded rows that codes did not rule out in the last searches.
    pub fn pass_rate(&self) -> f32 {
        self.compared
    }

    /// The greatest id of any row, removed ones included. 0 if there is none.
    pub fn last_id(&self) -> u64 {
        self.greatest
    }

    /// The rows with ids above `after` and up to `up_to`, by ascending id.
    pub fn stamps(&self, after: u64, up_to: u64) -> Vec<Stamp> {
        let mut stamps = Vec::new();
        for (scope, rows) in self.spaces.iter().enumerate() {
            for block in rows.blocks_after(after) {
                let ids = block.ids();
                if ids.first().is_none_or(|&first| first > up_to) {
                    break;
                }
                let rows = block.live_rows();
                let rows = rows.filter(|&row| ids[row] > after && ids[row] <= up_to);
                stamps.extend(rows.map(|row| Stamp {
                    id: ids[row],
                    stamp: block.stamps()[row],
                    scope: scope as u32,
                }));
            }
        }
        // Stable, so that sorted runs are only merged.
        stamps.sort_by_key(|stamp| stamp.id);
        stamps
    }

    /// Rows that `compact` would give back.
    pub fn tombstones(&self) -> usize {
        self.spaces.iter().map(Rows::dead).sum()
    }

    /// Gives back the memory of removed rows of the next block, and returns how many they were.
    /// None at the end.
    pub fn compact_some(&mut self, compaction: &mut Compaction) -> Option<usize> {
        while let Some(rows) = self.spaces.get_mut(compaction.scope) {
            if let Some((last_id, rows)) = rows.compact_next(compaction.last_id) {
                compaction.last_id = Some(last_id);
                return Some(rows);
            }
            *compaction = Compaction {
                scope: compaction.scope + 1,
                last_id: None,
            };
        }
        None
    }

    /// Bytes allocated, without the names of namespaces.
    pub fn bytes(&self) -> usize {
        self.spaces.iter().map(Rows::bytes).sum::<usize>()
            + self.spaces.capacity() * size_of::<Rows>()
            + self.placed.len() * PER_PLACED
            + self.basis.as_ref().map_or(0, |basis| basis.bytes())
            + self.learner.as_ref().map_or(0, Learner::bytes)
    }

    fn count(&self, which: impl Fn(&Block) -> bool) -> usize {
        let blocks = self.spaces.iter().flat_map(Rows::blocks);
        blocks.filter(|block| which(block)).map(Block::live).sum()
    }

    fn number(&mut self, scope: Scope) -> usize {
        if let Some(number) = self.scopes.get(scope) {
            return number as usize;
        }
        if self.emptied > FEWEST_TO_FREE.max(self.spaces.len() / 2) {
            self.free_scopes();
        }
        let number = self.scopes.add(scope.namespace, digest(scope.context)) as usize;
        if number == self.spaces.len() {
            self.spaces.push(Rows::new(self.dim, self.dtype));
        }
        number
    }

    /// Gives back the memory of scopes without rows, for others to come.
    fn free_scopes(&mut self) {
        self.emptied = 0;
        // Searches under way must not go on in another scope.
        self.replaced += 1;
        let spaces = &self.spaces;
        let free = self
            .scopes
            .free(|number| spaces[number as usize].live() > 0);
        for &number in free {
            self.spaces[number as usize] = Rows::new(self.dim, self.dtype);
        }
    }

    /// Learns from this many rows, even if that does not pay.
    #[cfg(any(test, feature = "testing"))]
    pub fn learn_from(&mut self, rows: usize) {
        self.fewest_to_learn_from = rows;
        self.fewest_to_encode = rows.min(FEWEST_TO_ENCODE);
    }

    /// Gives back the memory of all removed rows and returns how many they were.
    #[cfg(any(test, feature = "testing"))]
    pub fn compact(&mut self) -> usize {
        let mut compaction = Compaction::default();
        std::iter::from_fn(|| self.compact_some(&mut compaction)).sum()
    }

    /// Seals all rows, however few.
    #[cfg(any(test, feature = "testing"))]
    pub fn seal_all(&mut self) -> Result<()> {
        for rows in &mut self.spaces {
            let all: Vec<usize> = (0..rows.blocks().len()).collect();
            if !all.is_empty() {
                rows.seal_blocks(&all, &self.graph)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
