use super::*;
use crate::vector::unit;
use mneme_kernels::dot_f32;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const OPTIONS: GraphOptions = GraphOptions {
    ef_search: 100,
    ef_construction: 100,
    heuristic: true,
};

/// Points around a few centres, as the same numbers everywhere.
fn clustered(rows: usize, dim: usize, clusters: usize) -> Vec<Vec<f32>> {
    let mut state = 7_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..clusters)
        .map(|_| (0..dim).map(|_| random()).collect())
        .collect();
    (0..rows)
        .map(|row| {
            let around = centres[row % clusters]
                .iter()
                .map(|x| x + 0.8 * random())
                .collect();
            unit(around, dim as u32).unwrap()
        })
        .collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    1.0 - dot_f32(a, b)
}

fn graph_of(points: &[Vec<f32>], options: &GraphOptions) -> Graph {
    let between = |a: u32, b: u32| distance(&points[a as usize], &points[b as usize]);
    Graph::build(points.len(), &between, options, 1).unwrap()
}

fn search(graph: &Graph, points: &[Vec<f32>], query: &[f32], limit: usize) -> Vec<Near> {
    let from_query = |row: u32| distance(query, &points[row as usize]);
    graph.search(&from_query, limit, &mut Searcher::default())
}

fn kept(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.write(&mut bytes).unwrap();
    bytes
}

/// The share of the `limit` nearest rows that searches find.
fn recall(graph: &Graph, points: &[Vec<f32>], queries: &[Vec<f32>], limit: usize) -> f64 {
    let mut found = 0;
    for query in queries {
        let mut exact: Vec<(f32, u32)> = points
            .iter()
            .zip(0..)
            .map(|(point, row)| (distance(query, point), row))
            .collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let near = search(graph, points, query, limit);
        let rows: BTreeSet<u32> = near.iter().map(|near| near.row).collect();
        found += exact[..limit]
            .iter()
            .filter(|(_, row)| rows.contains(row))
            .count();
    }
    found as f64 / (queries.len() * limit) as f64
}

/// What holds of any result.
fn assert_sound(found: &[Near], graph: &Graph, limit: usize) {
    assert!(found.len() <= limit.min(graph.ef_search()));
    assert!(found.iter().all(|near| (near.row as usize) < graph.rows()));
    assert!(found.is_sorted_by(|a, b| a.distance.total_cmp(&b.distance).is_le()));
    let rows: BTreeSet<u32> = found.iter().map(|near| near.row).collect();
    assert_eq!(rows.len(), found.len());
}

#[test]
fn nothing_one_row_and_few_rows() {
    for rows in [0, 1, 2, 3, 63, 64, 65, 110, 111, 112] {
        let points = clustered(rows, 8, 4);
        for ef in [0, 1, 2, 64, 10_000] {
            for heuristic in [false, true] {
                let options = GraphOptions {
                    ef_search: ef,
                    ef_construction: ef,
                    heuristic,
                };
                let graph = graph_of(&points, &options);
                assert_eq!(graph.rows(), rows);
                let query = vec![1.0; 8];
                for limit in [0, 1, 5, 1000] {
                    let found = search(&graph, &points, &query, limit);
                    assert_sound(&found, &graph, limit);
                    assert_eq!(found.is_empty(), rows == 0 || limit == 0);
                    if rows <= 64 && ef >= 64 {
                        assert_eq!(found.len(), rows.min(limit).min(graph.ef_search()));
                    }
                }
            }
        }
    }
}

#[test]
fn most_of_the_nearest_rows_are_found() {
    let points = clustered(4000, 32, 50);
    let queries: Vec<Vec<f32>> = clustered(4200, 32, 50).split_off(4000);
    let graph = graph_of(&points, &OPTIONS);
    assert!(recall(&graph, &points, &queries, 1) >= 0.98);
    assert!(recall(&graph, &points, &queries, 10) >= 0.98);
}

#[test]
fn a_search_looks_at_few_rows() {
    let points = clustered(4000, 8, 50);
    let options = GraphOptions {
        ef_search: 20,
        ..OPTIONS
    };
    let graph = graph_of(&points, &options);
    let looked_at = AtomicUsize::new(0);
    let from_query = |row: u32| {
        looked_at.fetch_add(1, Ordering::Relaxed);
        distance(&points[7], &points[row as usize])
    };
    let found = graph.search(&from_query, 1, &mut Searcher::default());
    assert_eq!(found[0].row, 7);
    assert!(looked_at.into_inner() < 1500);
}

#[test]
fn identical_rows() {
    let points = vec![vec![0.6, 0.8]; 500];
    let graph = graph_of(&points, &OPTIONS);
    let found = search(&graph, &points, &[0.6, 0.8], 10);
    assert_eq!(found.len(), 10);
    assert_sound(&found, &graph, 10);
}

#[test]
fn distances_that_are_no_numbers() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let between = |a: u32, b: u32| if (a ^ b).is_multiple_of(3) { bad } else { 0.5 };
        let graph = Graph::build(300, &between, &OPTIONS, 1).unwrap();
        let from_query = |row: u32| {
            if row.is_multiple_of(2) {
                bad
            } else {
                row as f32
            }
        };
        let found = graph.search(&from_query, 50, &mut Searcher::default());
        assert!(found.iter().all(|near| near.row < 300));
    }
}

#[test]
fn one_searcher_serves_graphs_of_any_size() {
    let points = clustered(300, 8, 4);
    let graphs: Vec<Graph> = [300, 0, 5, 120, 299]
        .map(|rows| graph_of(&points[..rows], &OPTIONS))
        .into();
    let mut searcher = Searcher::default();
    // More often than the searcher's byte can count.
    for round in 0..300 {
        let graph = &graphs[round % graphs.len()];
        let query = &points[round];
        let from_query = |row: u32| distance(query, &points[row as usize]);
        let again = graph.search(&from_query, 7, &mut searcher);
        assert_eq!(again, search(graph, &points, query, 7));
    }
}

#[test]
fn too_many_rows_are_refused() {
    let refused = Graph::build(MAX_ROWS + 1, &|_, _| 0.0, &OPTIONS, 1);
    assert!(matches!(refused, Err(Error::InvalidArgument(_))));
}

#[test]
fn a_kept_graph_is_searched_as_the_options_say() {
    let points = clustered(500, 8, 10);
    let graph = graph_of(&points, &OPTIONS);
    let options = GraphOptions {
        ef_search: 3,
        ..OPTIONS
    };
    let again = Graph::read(&kept(&graph), 500, &options).unwrap();
    assert_eq!(search(&again, &points, &points[9], 10).len(), 3);
    let wide = Graph::read(&kept(&again), 500, &OPTIONS).unwrap();
    assert_eq!(kept(&wide), kept(&graph));
    assert_eq!(wide.bytes(), graph.bytes());
    assert!((300..600).contains(&(wide.bytes() / 500)));
    for query in &points {
        let found = search(&wide, &points, query, 100);
        assert_eq!(found, search(&graph, &points, query, 100));
        assert_eq!(found.len(), 100);
    }
}

/// Points and their kept graph, of about the fewest rows that make two layers.
static SMALL: LazyLock<(Vec<Vec<f32>>, Vec<u8>)> = LazyLock::new(|| {
    let options = GraphOptions {
        ef_construction: 20,
        ..OPTIONS
    };
    let points = clustered(120, 4, 4);
    let bytes = kept(&graph_of(&points, &options));
    (points, bytes)
});

/// Reads bytes that may be damaged, and searches what is read. True if it was.
fn survives(bytes: &[u8], rows: usize, points: &[Vec<f32>]) -> bool {
    match Graph::read(bytes, rows, &OPTIONS) {
        Ok(graph) => {
            assert_eq!(graph.rows(), rows);
            for query in points.iter().step_by(29) {
                assert_sound(&search(&graph, points, query, 20), &graph, 20);
            }
            true
        }
        Err(Error::Corrupt(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn every_truncation_is_refused_and_every_flipped_bit_is_survived() {
    let (points, bytes) = &*SMALL;
    assert!(survives(bytes, 120, points));
    assert!(!survives(bytes, 119, points));
    assert!(!survives(bytes, 121, points));
    assert!(!survives(&[&bytes[..], &[0]].concat(), 120, points));
    for len in 0..bytes.len() {
        assert!(!survives(&bytes[..len], 120, points));
    }
    let (mut refused, mut searched) = (0, 0);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            match survives(&damaged, 120, points) {
                true => searched += 1,
                false => refused += 1,
            }
        }
    }
    // Some links lead to another row that there is.
    assert!(refused > 1000 && searched > 1000, "{refused} {searched}");
}

/// A kept graph, number by number.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    let mut rest = &bytes[8..];
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (number, after) = postcard::take_from_bytes(rest).unwrap();
        numbers.push(number);
        rest = after;
    }
    numbers
}

fn encode(header: &[u8], numbers: &[u64]) -> Vec<u8> {
    numbers.iter().fold(header.to_vec(), |bytes, number| {
        postcard::to_extend(number, bytes).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn round_trip(
        values in prop::collection::vec(prop::collection::vec(-3_i8..=3, 4), 0..200),
        ef_search in 1_u32..150,
        ef_construction in 1_u32..150,
        heuristic: bool,
        seed: u64,
    ) {
        // Few distinct values, so that ties and identical rows are common.
        let points: Vec<Vec<f32>> = values
            .into_iter()
            .map(|values| values.into_iter().map(f32::from).collect())
            .collect();
        let options = GraphOptions { ef_search, ef_construction, heuristic };
        let between = |a: u32, b: u32| distance(&points[a as usize], &points[b as usize]);
        let graph = Graph::build(points.len(), &between, &options, seed).unwrap();
        let again = Graph::read(&kept(&graph), points.len(), &options).unwrap();
        for query in points.iter().take(10) {
            let found = search(&graph, &points, query, 20);
            assert_sound(&found, &graph, 20);
            prop_assert_eq!(found, search(&again, &points, query, 20));
        }
    }

    /// Numbers that are wrong but well formed.
    #[test]
    fn other_numbers_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            0_u64..130,
            Just(u64::from(u32::MAX)),
            Just(u64::from(u32::MAX) + 1),
            Just(u64::MAX),
            any::<u64>(),
        ]), 1..4),
        counts: bool,
    ) {
        let (points, bytes) = &*SMALL;
        let mut numbers = numbers(bytes);
        // Where the counts are, which are few among the links.
        let lowest = 2 + 120;
        let layers = lowest + 1 + 120 * LINKS;
        for (at, number) in changes {
            let at = match counts {
                true => [0, 1, 2, lowest, layers, layers + 1][at.index(6)],
                false => at.index(numbers.len()),
            };
            numbers[at] = number;
        }
        survives(&encode(&bytes[..8], &numbers), 120, points);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), rows in 0_usize..4) {
        let mut header = kept(&graph_of(&[], &OPTIONS))[..4].to_vec();
        header.extend_from_slice(&(rows as u32).to_le_bytes());
        let points = clustered(4, 4, 1);
        survives(&[header, bytes.clone()].concat(), rows, &points);
        survives(&bytes, rows, &points);
    }
}
