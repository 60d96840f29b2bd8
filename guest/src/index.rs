//! The vector index: which entries of a namespace may be similar enough.
//!
//! An exact scan over small integer [`codes`] rules out almost every row with a proof;
//! see there. What is left is compared with the vector in the chosen dtype. The index
//! reports candidates with an *upper bound* of their cosine; the cache computes the
//! cosine itself from the store's float32 vector. The index is derived data: it can be
//! dropped at any time and built again from the store.

pub mod codes;
mod column;
pub mod graph;
mod rows;
pub mod simd;

use crate::error::Result;
use crate::types::VectorDtype;
use rows::Rows;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// A row that may be similar enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The entry's id.
    pub id: u64,
    /// No cosine of the entry with the query is greater.
    pub bound: f32,
}

impl Eq for Found {}

impl Ord for Found {
    /// The better one is greater: higher bound, then lower id.
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound
            .total_cmp(&other.bound)
            .then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best rows found so far.
pub struct TopFound {
    limit: usize,
    threshold: f32,
    best: BinaryHeap<Reverse<Found>>,
}

impl TopFound {
    fn new(threshold: f32, limit: usize) -> Self {
        TopFound {
            limit: limit.max(1),
            threshold,
            best: BinaryHeap::new(),
        }
    }

    /// Rows below it need not be offered.
    pub fn cut(&self) -> f32 {
        match self.best.peek() {
            Some(Reverse(worst)) if self.best.len() == self.limit => worst.bound,
            _ => self.threshold,
        }
    }

    /// Takes a row in, dropping the worst if there are too many.
    pub fn offer(&mut self, found: Found) {
        self.best.push(Reverse(found));
        if self.best.len() > self.limit {
            self.best.pop();
        }
    }
}

/// Where a row is.
#[derive(Clone, Copy)]
struct Place {
    namespace: u32,
    row: u32,
}

/// The rows of all namespaces.
pub struct Index {
    dim: usize,
    dtype: VectorDtype,
    /// Position in `spaces` of each namespace that was ever seen.
    numbers: BTreeMap<String, u32>,
    spaces: Vec<Rows>,
    places: BTreeMap<u64, Place>,
}

impl Index {
    /// An index without rows for vectors of `dim` values.
    pub fn new(dim: u32, dtype: VectorDtype) -> Self {
        Index {
            dim: dim as usize,
            dtype,
            numbers: BTreeMap::new(),
            spaces: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Adds a row for a unit vector, in place of the one with the same id. On error
    /// (`index-unavailable`) there is no row with that id.
    pub fn add(&mut self, namespace: &str, id: u64, created_at: u64, vector: &[f32]) -> Result<()> {
        self.remove(id);
        let number = match self.numbers.get(namespace) {
            Some(&number) => number,
            None => {
                let number = self.spaces.len() as u32;
                self.spaces.push(Rows::new(self.dim, self.dtype));
                self.numbers.insert(namespace.into(), number);
                number
            }
        };
        let row = self.spaces[number as usize].push(id, created_at, vector)? as u32;
        self.places.insert(
            id,
            Place {
                namespace: number,
                row,
            },
        );
        Ok(())
    }

    /// Removes a row. False where there was none.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(place) = self.places.remove(&id) else {
            return false;
        };
        if let Some(moved) = self.spaces[place.namespace as usize].swap_remove(place.row as usize) {
            self.places.insert(moved, place);
        }
        true
    }

    /// Removes the rows of one namespace.
    pub fn clear_namespace(&mut self, namespace: &str) {
        if let Some(&number) = self.numbers.get(namespace) {
            let rows = &mut self.spaces[number as usize];
            for id in rows.ids() {
                self.places.remove(id);
            }
            *rows = Rows::new(self.dim, self.dtype);
        }
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        *self = Index::new(self.dim as u32, self.dtype);
    }

    /// The at most `limit` rows of a namespace with the greatest bounds of at least
    /// `threshold`, best first. No other row of the namespace has a greater bound than
    /// the last, if `limit` were found, and none reaches the threshold otherwise.
    pub fn search(
        &self,
        namespace: &str,
        query: &[f32],
        threshold: f32,
        limit: usize,
    ) -> Vec<Found> {
        let mut top = TopFound::new(threshold, limit);
        if let Some(&number) = self.numbers.get(namespace) {
            self.spaces[number as usize].scan(query, &mut top);
        }
        top.best
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(found)| found)
            .collect()
    }

    /// How many rows a namespace has.
    pub fn rows_in(&self, namespace: &str) -> usize {
        self.numbers
            .get(namespace)
            .map_or(0, |&number| self.spaces[number as usize].len())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// Ids and creation times of all rows, by ascending id.
    pub fn stamps(&self) -> impl Iterator<Item = (u64, u64)> {
        self.places.iter().map(|(&id, place)| {
            (
                id,
                self.spaces[place.namespace as usize].created_at(place.row as usize),
            )
        })
    }

    /// The greatest id that has a row, 0 without rows.
    pub fn last_id(&self) -> u64 {
        self.places.last_key_value().map_or(0, |(&id, _)| id)
    }

    /// Rows that `compact` would give back.
    pub fn tombstones(&self) -> usize {
        self.spaces.iter().map(Rows::spare).sum()
    }

    /// Gives back the memory of removed rows and returns how many they were.
    pub fn compact(&mut self) -> usize {
        self.spaces.iter_mut().map(Rows::compact).sum()
    }

    /// Bytes allocated. The map of ids is counted at 32 bytes a row.
    pub fn bytes(&self) -> usize {
        self.spaces.iter().map(Rows::bytes).sum::<usize>() + self.places.len() * 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{cosine, unit};
    use proptest::prelude::*;

    const DTYPES: [VectorDtype; 3] = [
        VectorDtype::Float32,
        VectorDtype::Float16,
        VectorDtype::Int8,
    ];

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64, usize, Vec<f32>),
        Remove(u64),
        Clear(usize),
        Compact,
    }

    fn vector(dim: usize) -> impl Strategy<Value = Vec<f32>> {
        // Few distinct values, so that ties and identical rows are common.
        prop::collection::vec((-3_i8..=3).prop_map(f32::from), dim)
            .prop_filter_map("zero vector", move |v| unit(v, dim as u32).ok())
    }

    fn steps(dim: usize) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (1_u64..30, 0_usize..2, vector(dim)).prop_map(|(id, n, v)| Step::Add(id, n, v)),
            3 => (1_u64..30).prop_map(Step::Remove),
            1 => (0_usize..2).prop_map(Step::Clear),
            1 => Just(Step::Compact),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Nothing that brute force finds is missing, in any dtype, and bounds are bounds.
        #[test]
        fn search_loses_nothing(
            (dim, steps, query) in (2_usize..40).prop_flat_map(|d| (Just(d), steps(d), vector(d))),
            threshold in -1.0_f32..=1.0,
        ) {
            const NAMES: [&str; 2] = ["a", "b"];
            for dtype in DTYPES {
                let mut index = Index::new(dim as u32, dtype);
                let mut model: BTreeMap<u64, (usize, Vec<f32>)> = BTreeMap::new();
                for step in &steps {
                    match step {
                        Step::Add(id, n, v) => {
                            index.add(NAMES[*n], *id, *id, v).unwrap();
                            model.insert(*id, (*n, v.clone()));
                        }
                        Step::Remove(id) => {
                            prop_assert_eq!(index.remove(*id), model.remove(id).is_some());
                        }
                        Step::Clear(n) => {
                            index.clear_namespace(NAMES[*n]);
                            model.retain(|_, (namespace, _)| namespace != n);
                        }
                        Step::Compact => {
                            index.compact();
                            prop_assert_eq!(index.tombstones(), 0);
                        }
                    }
                }
                prop_assert_eq!(index.rows(), model.len());
                prop_assert_eq!(index.stamps().map(|(id, _)| id).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
                for (n, name) in NAMES.iter().enumerate() {
                    let rows: Vec<_> = model.iter().filter(|(_, (m, _))| *m == n).collect();
                    let found = index.search(name, &query, threshold, 1000);
                    for (id, (_, v)) in &rows {
                        let exact = cosine(&query, v);
                        match found.iter().find(|f| f.id == **id) {
                            Some(f) => prop_assert!(f.bound >= exact),
                            None => prop_assert!(exact < threshold),
                        }
                    }
                    prop_assert!(found.windows(2).all(|w| w[0] > w[1]));
                    let few = index.search(name, &query, threshold, 3);
                    prop_assert_eq!(&few[..], &found[..found.len().min(3)]);
                }
            }
        }
    }

    #[test]
    fn memory_shrinks_with_the_dtype_and_with_compact() {
        let mut sizes = Vec::new();
        for dtype in DTYPES {
            let mut index = Index::new(64, dtype);
            for id in 1..=1000 {
                let v: Vec<f32> = (0..64)
                    .map(|i| ((id * 31 + i * 17) % 13) as f32 - 6.0)
                    .collect();
                index.add("n", id, 0, &unit(v, 64).unwrap()).unwrap();
            }
            index.compact();
            sizes.push(index.bytes() / 1000);
            for id in 1..=500 {
                index.remove(id);
            }
            assert_eq!(index.tombstones(), 500);
            let before = index.bytes();
            assert_eq!(index.compact(), 500);
            assert!(index.bytes() < before - 500 * 64);
        }
        assert!(sizes[0] >= 5 * 64 && sizes[0] <= 5 * 64 + 60, "{sizes:?}");
        assert!(sizes[1] >= 3 * 64 && sizes[1] <= 3 * 64 + 64, "{sizes:?}");
        assert!(sizes[2] >= 64 && sizes[2] <= 64 + 64, "{sizes:?}");
    }
}
