use super::*;
use crate::builder::Builder;
use crate::cache::SemanticCache;
use crate::embedder::{EmbedError, Embedder, Guarded, Reading};
use crate::host::ManualClock;
use crate::replay::{Question, Replay};
use crate::request::{GetRequest, PutRequest};
use crate::store::MemoryStore;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn scored(similarity: f32, same: bool) -> Scored {
    Scored {
        similarity: Some(similarity),
        same,
    }
}

fn goal(metric: Metric, min_precision: f64, min_recall: f64) -> Goal {
    Goal {
        metric,
        min_precision,
        min_recall,
    }
}

/// Compares texts that mean nothing: by their vectors alone.
fn wordless() -> Comparison {
    Comparison {
        vetoes: Some(Vec::new()),
        ..Comparison::default()
    }
}

#[test]
fn the_best_threshold_depends_on_the_goal() {
    let pairs = [
        (0.9, true),
        (0.8, true),
        (0.7, false),
        (0.6, true),
        (0.5, false),
        (0.4, false),
        (0.3, true),
    ];
    let curve = Curve::of(&pairs.map(|(s, same)| scored(s, same))).unwrap();
    let best = |goal| curve.best(&goal).map(|point| point.threshold);
    assert_eq!(best(goal(Metric::F1, 0.0, 0.0)), Some(0.6));
    assert_eq!(best(goal(Metric::Precision, 0.0, 0.0)), Some(0.8));
    assert_eq!(best(goal(Metric::Precision, 0.0, 0.6)), Some(0.6));
    assert_eq!(best(goal(Metric::Recall, 0.0, 0.0)), Some(0.3));
    assert_eq!(best(goal(Metric::Recall, 0.7, 0.0)), Some(0.6));
    assert_eq!(best(goal(Metric::F1, 0.9, 0.9)), None);
    let point = curve.at(0.65).unwrap();
    assert_eq!((point.true_hits, point.wrong_hits), (2, 1));
    assert_eq!((point.lost_hits, point.true_misses), (2, 2));
    assert_eq!(curve.at(0.91), None);
    assert_eq!(curve.at(-1.0).unwrap().recall(), 1.0);
}

#[test]
fn one_kind_of_pair_is_not_enough() {
    for (pairs, expected) in [
        (vec![], "there is no pair"),
        (vec![scored(0.5, true)], "all pairs mean the same"),
        (vec![scored(0.5, false)], "no pair means the same"),
        (vec![scored(f32::NAN, false)], "pair 1 is NaN"),
    ] {
        let error = Curve::of(&pairs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn intervals_are_those_of_the_literature() {
    // Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion" (2001).
    let (low, high) = wilson(10, 20);
    assert!((low - 0.299).abs() < 5e-4 && (high - 0.701).abs() < 5e-4);
    let (low, high) = wilson(0, 10);
    assert!(low == 0.0 && (high - 0.278).abs() < 5e-4);
    assert_eq!(wilson(0, 0), (0.0, 1.0));
}

/// Similarities of 240 labelled pairs, some rounded so that they are equal, and what
/// `precision_recall_curve` of scikit-learn 1.9.1 makes of them.
#[derive(serde::Deserialize)]
struct Recorded {
    scores: Vec<f32>,
    /// A digit for each pair: 1 where it means the same.
    same: String,
    thresholds: Vec<f32>,
    precision: Vec<f64>,
    recall: Vec<f64>,
}

#[test]
fn precision_and_recall_are_those_of_scikit_learn() {
    let recorded = include_str!("scikit_learn.json");
    let recorded: Recorded = serde_json::from_str(recorded).unwrap();
    let same = recorded.same.chars().map(|digit| digit == '1');
    let pairs = recorded.scores.iter().zip(same);
    let pairs: Vec<Scored> = pairs.map(|(&s, same)| scored(s, same)).collect();
    let curve = Curve::of(&pairs).unwrap();
    let points = curve.points();
    let thresholds: Vec<f32> = points.iter().map(|point| point.threshold).collect();
    assert_eq!(thresholds, recorded.thresholds);
    // serde_json may be a last digit off.
    let is_near = |a: f64, b: f64| (a - b).abs() < 1e-15;
    for (n, point) in points.iter().enumerate() {
        assert!(
            is_near(point.precision(), recorded.precision[n]),
            "{point:?}"
        );
        assert!(is_near(point.recall(), recorded.recall[n]), "{point:?}");
    }
}

/// Points in the directions of the letters; refuses the empty text.
struct Letters(AtomicUsize);

impl Embedder for Letters {
    fn fingerprint(&self) -> &str {
        "letters"
    }

    fn dim(&self) -> u32 {
        26
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.0.fetch_add(texts.len(), Ordering::Relaxed);
        let embed = |text: &&str| {
            let mut vector = vec![0.0; 26];
            for letter in text.bytes().filter(u8::is_ascii_lowercase) {
                vector[usize::from(letter - b'a')] += 1.0;
            }
            match text.is_empty() {
                true => Err(EmbedError::permanent("empty")),
                false => Ok(vector),
            }
        };
        texts.iter().map(embed).collect()
    }
}

#[test]
fn each_text_is_embedded_once_as_the_cache_sees_it() {
    let pair = |a: &str, b: &str| Pair {
        a: a.into(),
        b: b.into(),
        same: true,
    };
    let letters = Arc::new(Letters(AtomicUsize::new(0)));
    let guarded = Guarded::new(Arc::clone(&letters));
    let pairs = [pair("A b", " a  B"), pair("ab", "c"), pair("C", "a b")];
    let mut seen = Vec::new();
    let scores = score(&pairs, &guarded, wordless(), |done, all| {
        seen.push((done, all));
    });
    let scores: Vec<f32> = scores
        .unwrap()
        .iter()
        .map(|s| s.similarity.unwrap())
        .collect();
    assert!((scores[0] - 1.0).abs() < 1e-6 && scores[1..] == [0.0, 0.0]);
    assert_eq!(letters.0.load(Ordering::Relaxed), 3);
    assert_eq!(seen, [(0, 3), (3, 3)]);

    let empty = [pair(" ", "a")];
    let error = score(&empty, &guarded, wordless(), |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Embedder(_)), "{error}");
}

/// Reads two words of a text.
struct TwoWords;

impl Embedder for TwoWords {
    fn fingerprint(&self) -> &str {
        "two-words"
    }

    fn dim(&self) -> u32 {
        2
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|_| vec![1.0, 0.0]).collect())
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let read = |text: &&str| {
            let tokens = text.split(' ').count() as u32;
            Embedding {
                vector: vec![1.0, 0.0],
                reading: Some(Reading {
                    tokens,
                    tokens_read: tokens.min(2),
                    tokens_unknown: 0,
                }),
            }
        };
        Ok(texts.iter().map(read).collect())
    }
}

#[test]
fn calibration_replay_and_the_cache_agree_on_what_can_be_read() {
    let texts = ["A b", "a  B", "c d", "a b c", "A b C", "x y z"];
    let pairs = all_pairs(&texts);
    for normalize in [true, false] {
        for allow_unreadable in [false, true] {
            let comparison = Comparison {
                normalize,
                allow_unreadable,
                vetoes: Some(Vec::new()),
            };
            let guarded = Guarded::new(TwoWords);
            let scores = score(&pairs, &guarded, comparison.clone(), |_, _| {}).unwrap();
            for (pair, scored) in pairs.iter().zip(scores) {
                let log = [Question::new(&pair.a), Question::new(&pair.b)];
                let replay =
                    Replay::with_progress(&log, &Guarded::new(TwoWords), normalize, |_, _| {});
                let replay = replay
                    .unwrap()
                    .options(|builder| builder.allow_unreadable(allow_unreadable).vetoes([]));
                let cache = SemanticCache::builder()
                    .store(MemoryStore::new())
                    .embedder(TwoWords)
                    .similarity_threshold(1.0)
                    .normalize(normalize)
                    .allow_unreadable(allow_unreadable)
                    .vetoes([])
                    .open()
                    .unwrap();
                cache.put(PutRequest::new(&pair.a, "r")).unwrap();
                let hit = cache.get(&pair.b).unwrap().is_hit();
                let case = format!("{pair:?}, {comparison:?}");
                assert_eq!(scored.similarity.is_some(), hit, "{case}");
                assert_eq!(replay.run(1.0).unwrap().hits() == 1, hit, "{case}");
            }
        }
    }
}

/// Points somewhere: for each text in another direction, which no dtype but float32 holds exactly.
struct Dense;

impl Embedder for Dense {
    fn fingerprint(&self) -> &str {
        "dense"
    }

    fn dim(&self) -> u32 {
        48
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embed = |text: &&str| {
            let seed = text.bytes().fold(7, |seed, byte| {
                u64::wrapping_add(u64::wrapping_mul(seed, 31), byte.into())
            });
            let mut random = fastrand::Rng::with_seed(seed);
            // Around one direction, so that all are somewhat alike.
            (0..48).map(|_| 1.0 + 1.5 * (random.f32() - 0.5)).collect()
        };
        Ok(texts.iter().map(embed).collect())
    }
}

#[test]
fn calibration_replay_and_the_cache_agree_on_dense_vectors() {
    let texts: Vec<String> = (0..12).map(|n| format!("question {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let pairs = all_pairs(&texts);
    let dense = Guarded::new(Dense);
    let scores = score(&pairs, &dense, wordless(), |_, _| {}).unwrap();
    let log = log_of(&pairs, 0);
    for dtype in [
        VectorDtype::Float32,
        VectorDtype::Float16,
        VectorDtype::Int8,
    ] {
        let options = |builder: Builder| builder.vector_dtype(dtype).vetoes([]);
        let cache = options(SemanticCache::builder())
            .store(MemoryStore::new())
            .embedder(Dense)
            .open()
            .unwrap();
        for (n, pair) in pairs.iter().enumerate() {
            let request = PutRequest::new(&pair.a, "r").namespace(n.to_string());
            cache.put(request).unwrap();
        }
        let replay = Replay::new(&log, &dense).unwrap().options(options);
        for (n, pair) in pairs.iter().enumerate() {
            let reached = scores[n].similarity.unwrap();
            let get = |threshold: f32| {
                let request = GetRequest::new(&pair.b).namespace(n.to_string());
                cache.get(request.threshold(threshold)).unwrap().is_hit()
            };
            let case = format!("{dtype:?}, {pair:?}, {reached}");
            assert!(get(reached) && !get(reached.next_up()), "{case}");
        }
        for scored in scores.iter().step_by(11) {
            let threshold = scored.similarity.unwrap();
            let reach = |pair: &&Scored| pair.similarity.is_some_and(|s| s >= threshold);
            let expected = scores.iter().filter(reach).count() as u64;
            assert_eq!(replay.run(threshold).unwrap().hits(), expected, "{dtype:?}");
        }
    }
}

/// All pairs of these texts.
fn all_pairs(texts: &[&str]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (n, a) in texts.iter().enumerate() {
        for b in &texts[n + 1..] {
            pairs.push(Pair {
                a: (*a).into(),
                b: (*b).into(),
                same: true,
            });
        }
    }
    pairs
}

/// Decay off, and on: half-life in seconds and cut-off.
const DECAYS: [(u64, f32); 3] = [(86_400, 0.0), (100, 0.4), (100, 0.9)];

#[test]
fn calibration_replay_and_the_cache_agree_at_every_threshold_and_age() {
    let texts = ["abc", "ABC ", "abd", "ab", "c ab x", "xyz", "aab", "dcba"];
    let pairs = all_pairs(&texts);
    for dtype in [
        VectorDtype::Float32,
        VectorDtype::Float16,
        VectorDtype::Int8,
    ] {
        let letters = Guarded::new(Letters(AtomicUsize::new(0)));
        // However the index holds vectors, answers are compared as they were stored.
        let scores = score(&pairs, &letters, wordless(), |_, _| {}).unwrap();
        let similarities: Vec<f32> = scores.iter().filter_map(|pair| pair.similarity).collect();
        assert_eq!(similarities.len(), pairs.len());
        // Where it matters most: at what is reached exactly.
        let mut thresholds = vec![-1.0, 0.0, 0.25, 0.5, 0.7, 0.85, 0.95, 1.0];
        thresholds.extend(&similarities);
        let curve = Curve::of(&[scores.as_slice(), &[scored(-1.0, false)]].concat()).unwrap();
        for (half_life, cut_off) in DECAYS {
            for halvings in 0..3 {
                let (age, factor) = (halvings * 100, 0.5_f32.powi(halvings as i32));
                let faded = if cut_off > 0.0 { factor } else { 1.0 };
                let decays = |builder: Builder| {
                    builder
                        .vector_dtype(dtype)
                        .confidence_decay(half_life, cut_off)
                };
                let log = log_of(&pairs, age);
                let replay = Replay::new(&log, &letters).unwrap().options(decays);
                let cache = aged(&pairs, age, decays);
                for &threshold in &thresholds {
                    let case = format!("{dtype:?}, {threshold}, {half_life}, {cut_off}, {age}");
                    let mut hits = 0;
                    for (n, (pair, similarity)) in pairs.iter().zip(&similarities).enumerate() {
                        let is_exact = pair.a.trim().eq_ignore_ascii_case(pair.b.trim());
                        let is_close = *similarity >= threshold && similarity * faded >= cut_off;
                        let request = GetRequest::new(&pair.b).namespace(n.to_string());
                        let hit = cache.get(request.threshold(threshold)).unwrap().is_hit();
                        assert_eq!(hit, is_exact || is_close, "{case}: {pair:?}, {similarity}");
                        hits += u64::from(hit);
                    }
                    assert_eq!(replay.run(threshold).unwrap().hits(), hits, "{case}");
                    // A curve knows no age.
                    if cut_off == 0.0 {
                        let point = curve.at(threshold).map_or(0, |point| point.true_hits);
                        assert_eq!(point, hits, "{case}");
                    }
                }
            }
        }
    }
}

/// Each pair in a namespace: first all that are stored, and so many seconds later all that ask.
fn log_of(pairs: &[Pair], age: u64) -> Vec<Question> {
    let question =
        |text: &str, n: usize, time: u64| Question::new(text).namespace(n.to_string()).time(time);
    let stored = pairs.iter().enumerate();
    let stored = stored.map(|(n, pair)| question(&pair.a, n, 1000));
    let asked = pairs.iter().enumerate();
    let asked = asked.map(|(n, pair)| question(&pair.b, n, 1000 + age));
    stored.chain(asked).collect()
}

/// A cache with the first of each pair, in a namespace each, so many seconds later.
fn aged(pairs: &[Pair], age: u64, options: impl Fn(Builder) -> Builder) -> SemanticCache {
    let clock = ManualClock::at(1000);
    let cache = options(SemanticCache::builder())
        .store(MemoryStore::new())
        .embedder(Letters(AtomicUsize::new(0)))
        .clock(clock.clone())
        .open()
        .unwrap();
    for (n, pair) in pairs.iter().enumerate() {
        let request = PutRequest::new(&pair.a, "r").namespace(n.to_string());
        cache.put(request).unwrap();
    }
    clock.advance(Duration::from_secs(age));
    cache
}

proptest! {
    /// Every point counts what a plain count of the pairs counts.
    #[test]
    fn points_count_pairs(
        pairs in prop::collection::vec((0_u8..20, any::<bool>()), 2..80),
        asked in 0_u8..22,
    ) {
        // 0 stands for a pair that the embedder could not read.
        let pairs: Vec<Scored> = pairs
            .into_iter()
            .map(|(s, same)| Scored {
                similarity: (s > 0).then(|| f32::from(s) / 20.0),
                same,
            })
            .collect();
        prop_assume!(pairs.iter().any(|p| p.same) && pairs.iter().any(|p| !p.same));
        let curve = Curve::of(&pairs).unwrap();
        prop_assert!(curve.points().is_sorted_by(|a, b| a.threshold < b.threshold));
        let asked = f32::from(asked) / 20.0;
        for point in curve.points().iter().copied().chain(curve.at(asked)) {
            let count = |same: bool, hit: bool| {
                let pairs = pairs.iter().filter(|p| p.same == same);
                pairs.filter(|p| p.similarity.is_some_and(|s| s >= point.threshold) == hit).count() as u64
            };
            prop_assert_eq!(point.true_hits, count(true, true));
            prop_assert_eq!(point.wrong_hits, count(false, true));
            prop_assert_eq!(point.lost_hits, count(true, false));
            prop_assert_eq!(point.true_misses, count(false, false));
            let intervals = [
                (point.precision(), point.precision_interval()),
                (point.recall(), point.recall_interval()),
                (point.f1(), point.f1_interval()),
            ];
            for (value, (low, high)) in intervals {
                prop_assert!(low <= value + 1e-12 && value <= high + 1e-12);
            }
        }
    }
}
