mod graphs;

use super::scopes::Scope;
use super::*;
use crate::vector::{cosine, unit};
use proptest::prelude::*;

const DTYPES: [VectorDtype; 3] = [
    VectorDtype::Float32,
    VectorDtype::Float16,
    VectorDtype::Int8,
];
/// Other writers may use the empty name.
const NAMES: [&str; 2] = ["", "b"];

/// Rows by id: the namespace's position and the vector.
type Model = BTreeMap<u64, (usize, Vec<f32>)>;

#[derive(Clone, Debug)]
enum Step {
    Add(u64, usize, Vec<f32>),
    Remove(u64),
    Clear(usize),
    Compact,
    Work(u64),
    /// Kept in the store and read again, and how many pages of the vectors arrive.
    Reopen(usize),
}

/// Vectors of every kind that is hard for some bound.
fn vector(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    // Few distinct values, so that ties and identical rows are common.
    let coarse = prop::collection::vec((-3_i8..=3).prop_map(f32::from), dim);
    let fine = prop::collection::vec(-1.0_f32..1.0, dim);
    // One large value beside small ones, denormals and zeros.
    let value = prop_oneof![-1e-3_f32..1e-3, Just(0.0), Just(1e-40), Just(-0.0)];
    let spike = (prop::collection::vec(value, dim), 0..dim, -2.0_f32..2.0).prop_map(
        |(mut values, at, large)| {
            values[at] = large;
            values
        },
    );
    // All near one direction, as rows of one topic are.
    let near = prop::collection::vec(-0.05_f32..0.05, dim).prop_map(|values| {
        values
            .iter()
            .enumerate()
            .map(|(i, x)| x + 1.0 / (i + 1) as f32)
            .collect()
    });
    prop_oneof![2 => coarse, 2 => fine, 1 => spike, 2 => near]
        .prop_filter_map("zero vector", move |v: Vec<f32>| unit(v, dim as u32).ok())
}

fn steps(dim: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => (1_u64..60, vector(dim)).prop_map(|(id, v)| Step::Add(id, id as usize % 2, v)),
        3 => (1_u64..60).prop_map(Step::Remove),
        1 => (0_usize..2).prop_map(Step::Clear),
        1 => Just(Step::Compact),
        4 => prop_oneof![Just(u64::MAX), 1_u64..100_000].prop_map(Step::Work),
        1 => (0_usize..3).prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 0..70)
}

fn new_index(dim: usize, dtype: VectorDtype) -> Index {
    let mut index = Index::new(dim as u32, dtype);
    index.learn_from(4);
    index
}

/// The index as the next process finds it.
fn reopened(index: &Index) -> Index {
    let mut bytes = Vec::new();
    index.write(&mut bytes).unwrap();
    let mut read = Index::read(&mut &bytes[..], index.dim as u32, index.dtype).unwrap();
    // Namespaces get new numbers.
    let versions = |index: &Index| -> Vec<_> {
        let stamps = index.stamps(0, u64::MAX).into_iter();
        stamps.map(|stamp| (stamp.id, stamp.stamp)).collect()
    };
    assert_eq!(versions(&read), versions(index));
    read.learn_from(4);
    read
}

fn apply(
    index: &mut Index,
    model: &mut Model,
    step: &Step,
) -> std::result::Result<(), TestCaseError> {
    match step {
        Step::Add(id, n, v) => {
            index.add(Scope::plain(NAMES[*n]), *id, *id, v).unwrap();
            model.insert(*id, (*n, v.clone()));
        }
        Step::Remove(id) => {
            let removed = index.remove(NAMES[*id as usize % 2], *id);
            prop_assert_eq!(removed, model.remove(id).is_some());
        }
        Step::Clear(n) => {
            index.clear_namespace(NAMES[*n]);
            model.retain(|_, (namespace, _)| namespace != n);
        }
        Step::Compact => {
            index.compact();
            prop_assert_eq!(index.tombstones(), 0);
        }
        Step::Work(budget) => drop(index.work(*budget)),
        Step::Reopen(pages) => {
            while index.work(u64::MAX) {}
            if !index.is_encoded() {
                return Ok(());
            }
            *index = reopened(index);
            for _ in 0..*pages {
                let Some(after) = index.absent_after() else {
                    break;
                };
                let page: Vec<_> = model.range(after + 1..).take(7).collect();
                for &(&id, (n, v)) in &page {
                    index.arrive(Scope::plain(NAMES[*n]), id, id, v).unwrap();
                }
                index
                    .arrived((page.len() == 7).then(|| *page[6].0))
                    .unwrap();
            }
        }
    }
    Ok(())
}

/// What comparing everything finds.
fn brute_force(model: &Model, n: usize, query: &[f32], threshold: f32) -> Vec<Found> {
    let rows = model.iter().filter(|(_, (m, _))| *m == n);
    let mut found: Vec<Found> = rows
        .map(|(&id, (_, v))| Found {
            id,
            bound: cosine(query, v),
        })
        .filter(|found| found.bound >= threshold)
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn check_search(
    index: &mut Index,
    model: &Model,
    n: usize,
    query: &[f32],
    threshold: f32,
) -> std::result::Result<(), TestCaseError> {
    let exact = brute_force(model, n, query, threshold);
    let found = index.find(Scope::plain(NAMES[n]), query, threshold, 1000);
    for exact in &exact {
        let candidate = found.iter().find(|found| found.id == exact.id);
        prop_assert!(
            candidate.is_some_and(|found| found.bound >= exact.bound),
            "{exact:?} is not among {found:?}"
        );
    }
    prop_assert!(found.windows(2).all(|w| w[0] > w[1]));
    let same_bits = index.dtype == VectorDtype::Float32 && index.resident_rows() == index.rows();
    if same_bits {
        prop_assert_eq!(&found, &exact);
    }
    for limit in [1, 3] {
        let few = index.find(Scope::plain(NAMES[n]), query, threshold, limit);
        if same_bits {
            prop_assert_eq!(&few[..], &exact[..exact.len().min(limit)]);
        }
        prop_assert_eq!(few.len(), found.len().min(limit));
        for exact in &exact {
            prop_assert!(
                few.iter().any(|few| few.id == exact.id)
                    || few.last().is_some_and(|last| last.bound >= exact.bound),
                "{exact:?} is better than {few:?}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// The search finds everything that brute force finds, in any dtype, after any history, and
    /// bounds are bounds. With float32 in memory it is the same to the bit, ties included.
    #[test]
    fn search_loses_nothing(
        (steps, queries) in prop_oneof![2_usize..40, 120_usize..150]
            .prop_flat_map(|dim| (steps(dim), prop::collection::vec(vector(dim), 2))),
        dtype in prop::sample::select(&DTYPES[..]),
        threshold in prop_oneof![-1.0_f32..=1.0, 0.7_f32..=1.0, Just(1.0), Just(-1.0)],
    ) {
        let mut index = new_index(queries[0].len(), dtype);
        let mut model = Model::new();
        for step in &steps {
            apply(&mut index, &mut model, step)?;
        }
        prop_assert_eq!(index.rows(), model.len());
        let ids: Vec<u64> = index.stamps(0, u64::MAX).iter().map(|stamp| stamp.id).collect();
        prop_assert_eq!(ids, model.keys().copied().collect::<Vec<_>>());
        for n in 0..NAMES.len() {
            for query in &queries {
                check_search(&mut index, &model, n, query, threshold)?;
            }
            // A row itself is its own nearest.
            if let Some((_, (_, v))) = model.iter().find(|(_, (m, _))| *m == n) {
                check_search(&mut index, &model, n, v, threshold)?;
            }
        }
    }
}

/// Vectors in topics whose spectrum falls off, as that of sentence vectors does.
fn topics(dim: usize, rows: usize) -> Vec<Vec<f32>> {
    let mut state = 1_u64;
    let mut random = move || {
        let mut sum = -2.0;
        for _ in 0..4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 40) as f32 / (1 << 24) as f32;
        }
        sum
    };
    let mut direction = |spread: f32| -> Vec<f32> {
        (0..dim)
            .map(|i| random() * spread / (1.0 + i as f32 / 24.0))
            .collect()
    };
    let centres: Vec<Vec<f32>> = (0..20).map(|_| direction(1.0)).collect();
    (0..rows)
        .map(|n| {
            let centre = &centres[n % 20];
            let off = direction(0.8);
            unit(
                centre.iter().zip(&off).map(|(a, b)| a + b).collect(),
                dim as u32,
            )
            .unwrap()
        })
        .collect()
}

#[test]
fn long_vectors_are_found_in_every_dtype() {
    for (dim, rows) in [(385, 1500), (2049, 300), (8192, 80)] {
        let vectors = topics(dim, rows + 5);
        for dtype in DTYPES {
            let mut index = new_index(dim, dtype);
            let mut model = Model::new();
            for (n, v) in vectors[..rows].iter().enumerate() {
                let id = n as u64 + 1;
                apply(&mut index, &mut model, &Step::Add(id, 0, v.clone())).unwrap();
            }
            while index.work(u64::MAX) {}
            assert_eq!(index.coded_rows(), rows);
            for query in vectors[rows..].iter().chain(&vectors[..3]) {
                for threshold in [0.0, 0.6, 0.85] {
                    check_search(&mut index, &model, 0, query, threshold).unwrap();
                }
            }
        }
    }
}

#[test]
fn codes_rule_out_nearly_all_rows_and_a_loose_basis_is_replaced() {
    let dim = 96;
    let vectors = topics(dim, 4000);
    let mut index = Index::new(dim as u32, VectorDtype::Float32);
    let narrow = |v: &[f32]| {
        unit(
            v.iter()
                .enumerate()
                .map(|(i, x)| if i < 90 { x * 1e-3 } else { *x })
                .collect(),
            dim as u32,
        )
        .unwrap()
    };
    // What the basis is learned from lies in six dimensions, what comes later does not.
    for (n, v) in vectors[..1500].iter().enumerate() {
        index
            .add(Scope::plain("n"), n as u64 + 1, 0, &narrow(v))
            .unwrap();
    }
    while index.work(u64::MAX) {}
    for (n, v) in vectors.iter().enumerate() {
        index.add(Scope::plain("n"), n as u64 + 2001, 0, v).unwrap();
    }
    let search = |index: &mut Index| {
        for query in vectors.iter().step_by(40) {
            let query: Vec<f32> = query.iter().rev().copied().collect();
            index.find(Scope::plain("n"), &query, 0.85, 16);
        }
    };
    search(&mut index);
    let loose = index.passed;
    assert!(loose > LOOSE, "{loose}");
    while index.work(u64::MAX) {}
    search(&mut index);
    assert!(index.passed < loose / 4.0, "{} after {loose}", index.passed);
    assert!(index.pass_rate() < 0.01, "{}", index.pass_rate());
}

#[test]
fn a_basis_of_few_rows_is_replaced_by_one_of_a_full_sample() {
    let dim = 64;
    let vectors = topics(dim, sample_rows(dim));
    let mut index = Index::new(dim as u32, VectorDtype::Float32);
    let mut bases: Vec<Rc<Basis>> = Vec::new();
    for (id, vector) in (1..).zip(&vectors) {
        index.add(Scope::plain("a"), id, 0, vector).unwrap();
        while index.work(u64::MAX) {}
        if let Some(basis) = &index.basis
            && bases.last().is_none_or(|last| !Rc::ptr_eq(last, basis))
        {
            bases.push(Rc::clone(basis));
            let due = [FEWEST_TO_LEARN_FROM, sample_rows(dim)];
            assert_eq!(id as usize, due[bases.len() - 1]);
        }
    }
    assert_eq!(bases.len(), 2);
    assert_eq!(index.coded_rows(), vectors.len());
}

#[test]
fn memory_shrinks_with_the_dtype_and_with_compact() {
    let dim = 61;
    let vectors = topics(dim, 4096);
    let mut sizes = Vec::new();
    for dtype in DTYPES {
        let mut index = Index::new(dim as u32, dtype);
        for (n, v) in vectors.iter().enumerate() {
            index.add(Scope::plain("n"), n as u64 + 1, 0, v).unwrap();
        }
        while index.work(u64::MAX) {}
        index.compact();
        let basis = index.basis.as_ref().map_or(0, |basis| basis.bytes());
        sizes.push((index.bytes() - basis).div_ceil(vectors.len()));
        for id in 1..=1500 {
            index.remove("n", id);
        }
        assert_eq!(index.tombstones(), 1500);
        let before = index.bytes();
        assert_eq!(index.compact(), 1500);
        assert!(index.bytes() < before - 1500 * dim);
    }
    assert!(sizes[0] <= 4 * dim + 128, "{sizes:?}");
    assert!(sizes[1] <= 2 * dim + 128, "{sizes:?}");
    assert!(sizes[2] <= dim + 64, "{sizes:?}");
}

#[test]
fn ids_that_come_late_leave_few_blocks() {
    let dim = 64;
    let rows = 3 * block_rows(dim) as u64;
    let vector = &topics(dim, 1)[0];
    let mut index = Index::new(dim as u32, VectorDtype::Float32);
    // As where another process stores every other entry.
    for id in (1..=rows).step_by(2).chain((2..=rows).step_by(2)) {
        index.add(Scope::plain("n"), id, 0, vector).unwrap();
    }
    let blocks = index.spaces[0].blocks();
    assert!(blocks.len() <= 6, "{} blocks", blocks.len());
    let ids = blocks.iter().flat_map(|block| block.ids());
    assert!(ids.copied().eq(1..=rows));
}

#[test]
fn a_damaged_index_is_an_error() {
    let dim = 40;
    for dtype in [VectorDtype::Float32, VectorDtype::Int8] {
        let mut index = new_index(dim, dtype);
        for (n, v) in topics(dim, 30).iter().enumerate() {
            index
                .add(Scope::plain(NAMES[n % 2]), n as u64 + 1, 0, v)
                .unwrap();
        }
        while index.work(u64::MAX) {}
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        let read = |bytes: &[u8], dim, dtype| Index::read(&mut &bytes[..], dim, dtype);
        assert!(read(&bytes, 40, dtype).is_ok());
        assert!(read(&bytes, 41, dtype).is_err());
        let other = match dtype {
            VectorDtype::Int8 => VectorDtype::Float16,
            _ => VectorDtype::Int8,
        };
        assert!(read(&bytes, 40, other).is_err());
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], 40, dtype).is_err(), "cut at {end}");
        }
        bytes.push(0);
        assert!(read(&bytes, 40, dtype).is_err());
        bytes.pop();
        // Swapped bytes are what another endianness looks like.
        let mut swapped = bytes.clone();
        for number in swapped.chunks_exact_mut(4) {
            number.reverse();
        }
        assert!(read(&swapped, 40, dtype).is_err());
        // Any flipped bit is an error, or another index that can be searched.
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(mut index) = read(&flipped, 40, dtype) {
                index.find(Scope::plain("b"), &topics(dim, 1)[0], 0.5, 5);
            }
        }
    }
}

#[test]
fn a_search_in_parts_finds_the_same_whatever_changes_meanwhile() {
    let dim = 24;
    let vectors = topics(dim, 3 * block_rows(dim) + 100);
    let (query, rows) = vectors.split_last().unwrap();
    let last = rows.len() as u64;
    let on = |index: &mut Index, search: &mut Search| {
        let mut parts = 1;
        while index.search(Scope::plain("n"), query, search, 1) {
            parts += 1;
        }
        parts
    };
    for (dtype, coded) in DTYPES.into_iter().flat_map(|t| [(t, false), (t, true)]) {
        let mut index = new_index(dim, dtype);
        for (n, v) in rows.iter().enumerate() {
            index.add(Scope::plain("n"), n as u64 + 1, 0, v).unwrap();
        }
        while coded && index.work(u64::MAX) {}
        let whole = index.find(Scope::plain("n"), query, 0.1, 20);
        assert_eq!(whole.len(), 20);
        let mut search = Search::new(0.1, 20);
        assert_eq!(on(&mut index, &mut search), 5);
        assert_eq!(search.into_found(), whole);
        // A row that was passed, one in the last block, a new one, and a removed one.
        for id in [1, last, last + 1] {
            let mut search = Search::new(0.1, 20);
            assert!(index.search(Scope::plain("n"), query, &mut search, 1));
            index.add(Scope::plain("n"), id, 0, query).unwrap();
            on(&mut index, &mut search);
            assert!(search.into_found().iter().any(|found| found.id == id));
        }
        index.remove("n", last + 1);
        // Graphs are built before it ends.
        index = index.searching(
            IndexKind::Hnsw,
            GraphOptions {
                ef_search: 60,
                ef_construction: 40,
                heuristic: false,
            },
        );
        let mut search = Search::new(0.99, 20);
        assert!(index.search(Scope::plain("n"), query, &mut search, 1));
        while index.seal().unwrap() {}
        on(&mut index, &mut search);
        let mut found: Vec<u64> = search.into_found().iter().map(|found| found.id).collect();
        found.sort_unstable();
        assert_eq!(found, [1, last]);
        // The namespace is emptied.
        let mut index = new_index(dim, dtype);
        for (n, v) in rows.iter().enumerate() {
            index.add(Scope::plain("n"), n as u64 + 1, 0, v).unwrap();
        }
        let mut search = Search::new(0.1, 20);
        assert!(index.search(Scope::plain("n"), query, &mut search, 1));
        index.clear_namespace("n");
        assert_eq!(on(&mut index, &mut search), 1);
    }
}

#[test]
fn vectors_that_leave_nothing_over_are_no_outliers() {
    // All in a plane, or all equal.
    for dim in [2, 30, 94, 384, 4096] {
        for turn in [0.0_f32, 0.1] {
            let mut index = new_index(dim, VectorDtype::Float32);
            for n in 0..40_u64 {
                let angle = turn * n as f32;
                let mut v = vec![0.0; dim];
                (v[0], v[dim - 1]) = (angle.cos(), angle.sin());
                index
                    .add(Scope::plain("n"), n + 1, 0, &unit(v, dim as u32).unwrap())
                    .unwrap();
            }
            while index.work(u64::MAX) {}
            let coded = index.spaces[0].blocks()[0].coded().unwrap();
            assert_eq!(coded.outliers.len(), 0, "{dim} dimensions, {turn}");
        }
    }
}

#[test]
fn contexts_that_come_and_go_leave_no_memory() {
    let mut index = new_index(2, VectorDtype::Float32);
    let v = [1.0, 0.0];
    let context = |n: u64| format!("conversation {n}");
    let mut most = 0;
    for n in 1..=20_000_u64 {
        let context = context(n);
        let scope = Scope {
            namespace: "n",
            context: &context,
        };
        index.add(scope, n, 0, &v).unwrap();
        if n > 100 {
            assert!(index.remove("n", n - 100));
        }
        most = most.max(index.spaces.len());
    }
    assert!(most < 3_000, "{most} scopes for 100");
    assert!(index.bytes() < 3_000 * 1_000, "{} bytes", index.bytes());
    for n in 19_901..=20_000 {
        let context = context(n);
        let scope = Scope {
            namespace: "n",
            context: &context,
        };
        let found = index.find(scope, &v, 0.9, 10);
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [n]);
    }
}

#[test]
fn rows_whose_vectors_left_memory_are_found_as_before() {
    let dim = 96;
    let rows = topics(dim, 8_000);
    for dtype in DTYPES {
        let mut index = Index::new(dim as u32, dtype);
        assert!(!index.make_room(), "there is no basis");
        for (n, v) in rows.iter().enumerate() {
            index.add(Scope::plain("n"), n as u64 + 1, 0, v).unwrap();
        }
        while index.work(u64::MAX) {}
        let ids = |index: &mut Index, query: &[f32]| -> Vec<u64> {
            let found = index.find(Scope::plain("n"), query, 0.9, rows.len());
            found.iter().map(|one| one.id).collect()
        };
        let exactly: Vec<Vec<u64>> = (0..40)
            .map(|n| {
                let query = &rows[n * 197];
                let near = |v: &Vec<f32>| cosine(v, query) >= 0.9;
                let near = rows.iter().enumerate().filter(|(_, v)| near(v));
                near.map(|(n, _)| n as u64 + 1).collect()
            })
            .collect();
        let mut bytes = index.bytes();
        let mut resident = index.resident_rows();
        let mut times = 0;
        while index.make_room() {
            times += 1;
            assert!(index.bytes() < bytes && index.resident_rows() < resident);
            (bytes, resident) = (index.bytes(), index.resident_rows());
            // What comes, goes and is replaced meanwhile.
            let n = times * 37;
            index
                .add(Scope::plain("n"), n as u64 + 1, 9, &rows[n])
                .unwrap();
            assert!(index.remove("n", n as u64 + 2));
            index
                .add(Scope::plain("n"), n as u64 + 2, 0, &rows[n + 1])
                .unwrap();
            while index.work(u64::MAX) {}
        }
        assert!(
            times > 0 && resident < 4_000,
            "{times} times, {resident} rows"
        );
        for (n, exactly) in exactly.iter().enumerate() {
            let found = ids(&mut index, &rows[n * 197]);
            let missing = exactly.iter().find(|id| !found.contains(id));
            assert!(missing.is_none(), "{missing:?}");
        }
        assert_eq!(index.is_whole(), dtype != VectorDtype::Int8);
    }
}
