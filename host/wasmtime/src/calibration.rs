//! Choosing the threshold: how well similarity separates the same meaning from another one.
//!
//! [`score`] embeds pairs of questions that are known to mean the same, or not, and compares them
//! in the component. A [`Curve`] then says, for every threshold, what a cache would have done with
//! these pairs.
//!
//! ```
//! use mneme::calibration::{Curve, Goal, Metric, Scored};
//!
//! // From `calibration::score`, or from anywhere else.
//! let pair = |similarity, same| Scored { similarity: Some(similarity), same };
//! let curve = Curve::of(&[pair(0.95, true), pair(0.9, true), pair(0.8, false), pair(0.7, true)])?;
//!
//! let best = curve.best(&Goal::new(Metric::Precision)).unwrap();
//! assert_eq!((best.threshold, best.precision()), (0.9, 1.0));
//! assert_eq!(curve.best(&Goal::new(Metric::Recall)).unwrap().threshold, 0.7);
//! # Ok::<(), mneme::Error>(())
//! ```

use crate::component::{Engine, Functions};
use crate::contract::trust::{BoundReport, ErrorBound, Label, Veto, VetoKind};
use crate::contract::types::VectorDtype;
use crate::embedder::{Embedding, Guarded};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// Texts that are embedded in one call, which has a time limit.
const BATCH: usize = 64;
/// Less than any similarity that is looked at.
const NO_CANDIDATE: f32 = f32::NEG_INFINITY;
/// The quantile of the normal distribution of a two-sided interval of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Two questions, and whether they mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// One question.
    pub a: String,
    /// The other question.
    pub b: String,
    /// Whether the answer to one is the answer to the other.
    pub same: bool,
}

/// What a cache makes of a pair, with `a` stored and `b` asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// -1 to 1; 1 for what the exact layer takes for the same. None if the embedder cannot read one of
    /// them.
    pub similarity: Option<f32>,
    /// Why the answer to `a` is none to `b`, whatever their similarity; see
    /// [`Builder::vetoes`](crate::Builder::vetoes).
    pub vetoes: Vec<Veto>,
    /// Whether the answer to one is the answer to the other.
    pub same: bool,
}

impl Judged {
    /// Whether `b` is answered by `a` at a threshold.
    pub fn answers(&self, threshold: f32) -> bool {
        self.vetoes.is_empty() && self.similarity.is_some_and(|of| of >= threshold)
    }
}

/// How similar two questions are, and whether they mean the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// -1 to 1. None if no threshold lets one answer the other: they have a veto, or the embedder
    /// cannot read one of them.
    pub similarity: Option<f32>,
    /// Whether the answer to one is the answer to the other.
    pub same: bool,
}

impl From<&Judged> for Scored {
    fn from(pair: &Judged) -> Self {
        Scored {
            similarity: pair.similarity.filter(|_| pair.vetoes.is_empty()),
            same: pair.same,
        }
    }
}

/// How questions are compared: as a cache with these options does. However its index holds vectors, it
/// compares answers as float32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// See [`Builder::normalize`](crate::Builder::normalize). Default true.
    pub normalize: bool,
    /// See [`Builder::allow_unreadable`](crate::Builder::allow_unreadable). Default false.
    pub allow_unreadable: bool,
    /// See [`Builder::vetoes`](crate::Builder::vetoes). None: the default of a cache.
    pub vetoes: Option<Vec<VetoKind>>,
}

impl Default for Comparison {
    fn default() -> Self {
        Comparison {
            normalize: true,
            allow_unreadable: false,
            vetoes: None,
        }
    }
}

/// Embeds pairs, each different text once, and compares them. Questions that the exact layer takes
/// for the same have similarity 1. `progress` receives how many texts of how many are embedded.
///
/// # Errors
///
/// [`Error::Embedder`] from the embedder; [`Error::EmbedderDimension`] and
/// [`Error::InvalidArgument`] for invalid vectors; [`Error::Component`].
pub fn score(
    pairs: &[Pair],
    embedder: &Guarded,
    comparison: Comparison,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Scored>> {
    let judged = judge(pairs, embedder, comparison, progress)?;
    Ok(judged.iter().map(Scored::from).collect())
}

/// As [`score`], with the vetoes of each pair.
///
/// # Errors
///
/// As there.
pub fn judge(
    pairs: &[Pair],
    embedder: &Guarded,
    comparison: Comparison,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Judged>> {
    let mut functions = Functions::start(&Engine::shared()?)?;
    let kinds = match comparison.vetoes {
        Some(kinds) => kinds,
        None => functions.default_vetoes()?,
    };
    let mut texts = Vec::with_capacity(2 * pairs.len());
    for text in pairs.iter().flat_map(|pair| [&pair.a, &pair.b]) {
        texts.push(functions.compared_text(text, comparison.normalize)?);
    }
    let embeddings = embed_distinct(&texts, embedder, progress)?;
    let (forms, _) = texts.as_chunks();
    pairs
        .iter()
        .zip(forms)
        .map(|(pair, [a, b])| {
            let mut readable = comparison.allow_unreadable || a == b;
            if !readable {
                readable = true;
                for reading in [a, b]
                    .into_iter()
                    .filter_map(|text| embeddings[text].reading)
                {
                    readable &= functions.is_readable(reading)?;
                }
            }
            let vetoes = match a == b {
                true => Vec::new(),
                false => functions.judge(&pair.b, &pair.a, &kinds)?.vetoes,
            };
            let (a, b) = (&embeddings[a].vector, &embeddings[b].vector);
            let similarity = functions.similarity(a, b, VectorDtype::Float32)?;
            Ok(Judged {
                similarity: readable.then_some(similarity),
                vetoes,
                same: pair.same,
            })
        })
        .collect()
}

/// What these pairs would open, if each were a question whose candidate got a label: in their order, as in
/// a stream. A pair without a similarity has no candidate.
///
/// # Errors
///
/// [`Error::InvalidArgument`] for a bound out of its ranges; [`Error::Component`].
pub fn assess(pairs: &[Scored], bound: ErrorBound) -> Result<BoundReport> {
    let labels: Vec<(f32, Label)> = pairs
        .iter()
        .map(|pair| {
            let label = match pair.same {
                true => Label::Same,
                false => Label::Different,
            };
            // Nothing is less similar, so that it has no candidate.
            (pair.similarity.unwrap_or(NO_CANDIDATE), label)
        })
        .collect();
    Functions::start(&Engine::shared()?)?.assess(bound, &labels)
}

/// The embeddings of texts, by text. Each different one is embedded once.
pub(crate) fn embed_distinct(
    texts: &[String],
    embedder: &Guarded,
    mut progress: impl FnMut(usize, usize),
) -> Result<HashMap<String, Embedding>> {
    let mut seen = HashSet::new();
    let distinct: Vec<String> = texts
        .iter()
        .filter(|text| seen.insert(text.as_str()))
        .cloned()
        .collect();
    let mut vectors = HashMap::with_capacity(distinct.len());
    progress(0, distinct.len());
    for step in distinct.chunks(BATCH * embedder.calls()) {
        let batches = step.chunks(BATCH);
        for (batch, embedded) in batches.clone().zip(embedder.embed_all(batches)) {
            let embedded = embedded.map_err(Error::Embedder)?;
            vectors.extend(batch.iter().cloned().zip(embedded));
        }
        progress(vectors.len(), distinct.len());
    }
    Ok(vectors)
}

/// The results of every threshold for some pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    points: Vec<Point>,
}

impl Curve {
    /// The curve of scored pairs: a point for each different similarity, ascending. Pairs without
    /// one are hits at no threshold.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if either kind of pair is missing, or a similarity is not a
    /// finite number.
    pub fn of(pairs: &[Scored]) -> Result<Self> {
        for (at, similarity) in pairs
            .iter()
            .enumerate()
            .filter_map(|(at, pair)| Some((at, pair.similarity?)))
        {
            if !similarity.is_finite() {
                return Err(Error::InvalidArgument(format!(
                    "the similarity of pair {} is {similarity}; it must be a finite number",
                    at + 1,
                )));
            }
        }
        let same = pairs.iter().filter(|pair| pair.same).count() as u64;
        let different = pairs.len() as u64 - same;
        let lacking = match (same, different) {
            (0, 0) => "there is no pair",
            (0, _) => "no pair means the same",
            (_, 0) => "all pairs mean the same",
            _ => "",
        };
        if !lacking.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "{lacking}; a threshold is chosen between pairs that mean the same and pairs that do not, so give some of both"
            )));
        }
        let compared = pairs
            .iter()
            .filter_map(|pair| Some((pair.similarity?, pair.same)));
        let mut sorted: Vec<(f32, bool)> = compared.collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut true_hits, mut wrong_hits) = (0, 0);
        let mut points = Vec::new();
        for group in sorted.chunk_by(|a, b| a.0 == b.0) {
            let same_here = group.iter().filter(|(_, same)| *same).count() as u64;
            true_hits += same_here;
            wrong_hits += group.len() as u64 - same_here;
            points.push(Point {
                threshold: group[0].0,
                true_hits,
                wrong_hits,
                lost_hits: same - true_hits,
                true_misses: different - wrong_hits,
            });
        }
        points.reverse();
        Ok(Curve { points })
    }

    /// The points, by ascending threshold.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The results of any threshold. None if it is above all similarities: nothing would be a
    /// hit.
    pub fn at(&self, threshold: f32) -> Option<Point> {
        let next = self.points.partition_point(|p| p.threshold < threshold);
        let point = self.points.get(next)?;
        Some(Point {
            threshold,
            ..*point
        })
    }

    /// The point that meets the goal best; none if no point meets its bounds. Precision decides
    /// between equal points (recall, if precision is the goal), and then the higher threshold.
    pub fn best(&self, goal: &Goal) -> Option<&Point> {
        let rank = |point: &Point| {
            let (precision, recall) = (point.precision(), point.recall());
            match goal.metric {
                Metric::F1 => [point.f1(), precision],
                Metric::Precision => [precision, recall],
                Metric::Recall => [recall, precision],
            }
        };
        self.points
            .iter()
            .filter(|point| {
                point.precision() >= goal.min_precision && point.recall() >= goal.min_recall
            })
            .max_by(|a, b| {
                let (of_a, of_b) = (rank(a), rank(b));
                of_a[0]
                    .total_cmp(&of_b[0])
                    .then(of_a[1].total_cmp(&of_b[1]))
            })
    }
}

/// The results of one threshold: pairs at least as similar are hits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// -1 to 1.
    pub threshold: f32,
    /// Pairs that mean the same and are hits.
    pub true_hits: u64,
    /// Pairs that do not mean the same but are hits.
    pub wrong_hits: u64,
    /// Pairs that mean the same but are not hits.
    pub lost_hits: u64,
    /// Pairs that do not mean the same and are not hits.
    pub true_misses: u64,
}

impl Point {
    /// The share of hits that are right: true / (true + wrong). 0 if there are no hits.
    pub fn precision(&self) -> f64 {
        share(self.true_hits, self.true_hits + self.wrong_hits)
    }

    /// The share of hits that are wrong. 0 if there are no hits.
    pub fn wrong_of_answers(&self) -> f64 {
        share(self.wrong_hits, self.true_hits + self.wrong_hits)
    }

    /// Wrong hits as a share of all pairs.
    pub fn wrong_of_requests(&self) -> f64 {
        let misses = self.lost_hits + self.true_misses;
        share(self.wrong_hits, self.true_hits + self.wrong_hits + misses)
    }

    /// The share of pairs of the same meaning that are hits: true / (true + lost).
    pub fn recall(&self) -> f64 {
        share(self.true_hits, self.true_hits + self.lost_hits)
    }

    /// The harmonic mean of precision and recall: 2 true / (2 true + wrong + lost).
    pub fn f1(&self) -> f64 {
        share(
            2 * self.true_hits,
            2 * self.true_hits + self.wrong_hits + self.lost_hits,
        )
    }

    /// The interval that holds the precision with a confidence of 95 %, by Wilson, "Probable
    /// inference, the law of succession, and statistical inference" (1927).
    pub fn precision_interval(&self) -> (f64, f64) {
        wilson(self.true_hits, self.true_hits + self.wrong_hits)
    }

    /// The same for the recall.
    pub fn recall_interval(&self) -> (f64, f64) {
        wilson(self.true_hits, self.true_hits + self.lost_hits)
    }

    /// The same for F1, which grows with the share J of true hits among all pairs that are
    /// hits or should be: F1 = 2 J / (1 + J).
    pub fn f1_interval(&self) -> (f64, f64) {
        let all = self.true_hits + self.wrong_hits + self.lost_hits;
        let (low, high) = wilson(self.true_hits, all);
        let f1 = |share: f64| 2.0 * share / (1.0 + share);
        (f1(low), f1(high))
    }
}

/// What a threshold should achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The measure to maximise.
    pub metric: Metric,
    /// The least acceptable precision, 0 to 1.
    pub min_precision: f64,
    /// The least acceptable recall, 0 to 1.
    pub min_recall: f64,
}

impl Goal {
    /// Maximises this measure, without bounds.
    pub fn new(metric: Metric) -> Self {
        Goal {
            metric,
            min_precision: 0.0,
            min_recall: 0.0,
        }
    }
}

/// A measure of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// See [`Point::f1`].
    #[default]
    F1,
    /// See [`Point::precision`].
    Precision,
    /// See [`Point::recall`].
    Recall,
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

/// The bounds of a proportion whose sample is `part` of `whole`.
fn wilson(part: u64, whole: u64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (whole as f64, share(part, whole));
    let scale = 1.0 + Z * Z / n;
    let middle = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Rounding must not put the share itself outside.
    let low = ((middle - spread) / scale).clamp(0.0, p);
    let high = ((middle + spread) / scale).clamp(p, 1.0);
    (low, high)
}

#[cfg(test)]
mod tests;
