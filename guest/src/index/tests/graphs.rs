//! Sealed segments in an index.

use super::*;

const GRAPH: GraphOptions = GraphOptions {
    ef_search: 60,
    ef_construction: 40,
    heuristic: false,
};

/// The share of queries whose best row is found; what is found must be true in any case.
fn recall(index: &mut Index, model: &Model, queries: &[Vec<f32>]) -> f32 {
    let found = queries.iter().filter(|query| {
        let exact = brute_force(model, 0, query, 0.3);
        let found = index.find(Scope::plain(NAMES[0]), query, 0.3, 8);
        for found in &found {
            let (n, vector) = &model[&found.id];
            assert_eq!(*n, 0);
            assert!(found.bound >= cosine(query, vector), "{found:?}");
        }
        let ids: std::collections::BTreeSet<u64> = found.iter().map(|found| found.id).collect();
        assert_eq!(ids.len(), found.len(), "twice: {found:?}");
        exact.first().map(|best| best.id) == found.first().map(|best| best.id)
    });
    found.count() as f32 / queries.len() as f32
}

#[test]
fn graphs_find_most_and_what_has_changed_since_is_exact() {
    let dim = 24;
    let rows = 2 * block_rows(dim) + 300;
    let vectors = topics(dim, rows + 300);
    let (rows, queries) = vectors.split_at(rows);
    for dtype in DTYPES {
        let mut index = new_index(dim, dtype).searching(IndexKind::Hnsw, GRAPH);
        let mut model = Model::new();
        for (n, v) in rows.iter().enumerate() {
            apply(
                &mut index,
                &mut model,
                &Step::Add(n as u64 + 1, 0, v.clone()),
            )
            .unwrap();
        }
        assert!(index.seal().unwrap());
        assert!(!index.seal().unwrap());
        // The rows of a block that still has room are scanned.
        assert_eq!(index.graph_rows(), 2 * block_rows(dim));
        let exact_only = index.bytes();
        // No two graphs are the same natively.
        let check_recall = |index: &mut Index, model: &Model| {
            let recall = recall(index, model, queries);
            assert!(recall >= 0.85, "{dtype:?}: {recall}");
        };
        check_recall(&mut index, &model);

        // One block changes, and is scanned; the other loses rows, which answer no more.
        let (replaced, removed) = (5, block_rows(dim) as u64 + 7);
        apply(
            &mut index,
            &mut model,
            &Step::Add(replaced, 0, queries[0].clone()),
        )
        .unwrap();
        for id in removed..removed + 100 {
            index.remove(NAMES[0], id);
            model.remove(&id);
        }
        assert_eq!(index.graph_rows(), block_rows(dim) - 100);
        let found = index.find(Scope::plain(NAMES[0]), &queries[0], 0.999, 1);
        assert_eq!(found.first().map(|found| found.id), Some(replaced));
        check_recall(&mut index, &model);

        // Sealed again, kept, and read.
        index.compact();
        while index.seal().unwrap() {}
        assert_eq!(index.graph_rows(), 2 * block_rows(dim) - 100);
        assert!(index.bytes() < 2 * exact_only);
        while index.work(u64::MAX) {}
        let mut index = reopened(&index).searching(IndexKind::Hnsw, GRAPH);
        if dtype != VectorDtype::Int8 {
            assert_eq!(index.graph_rows(), 0, "vectors are absent");
            // In the order of bounds only, but true.
            recall(&mut index, &model, queries);
            for (&id, (n, v)) in &model {
                index.arrive(Scope::plain(NAMES[*n]), id, id, v).unwrap();
            }
            index.arrived(None).unwrap();
        }
        assert_eq!(index.graph_rows(), 2 * block_rows(dim) - 100);
        check_recall(&mut index, &model);
        assert_eq!(reopened(&index).graph_rows(), 0, "an exact index has none");
        index.clear_namespace(NAMES[0]);
        assert_eq!(index.find(Scope::plain(NAMES[0]), &queries[0], -1.0, 5), []);
        assert_eq!(index.graph_rows(), 0);
    }
}

#[test]
fn only_an_index_of_graphs_seals() {
    let dim = 24;
    for kind in [IndexKind::Auto, IndexKind::Exact] {
        let mut index = new_index(dim, VectorDtype::Float32).searching(kind, GRAPH);
        for (n, v) in topics(dim, block_rows(dim) + 1).iter().enumerate() {
            index
                .add(Scope::plain(NAMES[0]), n as u64 + 1, 0, v)
                .unwrap();
        }
        assert!(!index.seal().unwrap());
        assert_eq!(index.graph_rows(), 0);
    }
}
