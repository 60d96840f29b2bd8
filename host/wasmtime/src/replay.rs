//! What a cache would have done with the questions of a log, for a sweep of thresholds or by an error
//! bound.
//!
//! Each rule gets a new, empty cache, which is asked the questions in order. After a miss
//! the answer of the log is stored. Choose the threshold by how often the cache would have
//! answered, and how often with another question's answer.
//!
//! ```
//! use mneme::embedder::{EmbedError, Embedder, Guarded};
//! use mneme::replay::{Question, Replay, Truth};
//! # struct Lengths;
//! # impl Embedder for Lengths {
//! #     fn fingerprint(&self) -> &str { "lengths" }
//! #     fn dim(&self) -> u32 { 2 }
//! #     fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
//! #         Ok(texts.iter().map(|text| vec![10.0, text.len() as f32]).collect())
//! #     }
//! # }
//! # let embedder = Guarded::new(Lengths);
//!
//! let ask = |text: &str, label: &str| Question::new(text).truth(Truth::Label(label.into()));
//! let log = [ask("reset my password", "reset"), ask("reset password", "reset"), ask("refund", "money")];
//!
//! let replay = Replay::new(&log, &embedder)?;
//! let outcome = replay.run(0.95)?;
//! assert_eq!((outcome.questions, outcome.hits(), outcome.wrong), (3, 1, 0));
//! # Ok::<(), mneme::Error>(())
//! ```

use crate::builder::Builder;
use crate::cache::SemanticCache;
use crate::calibration::embed_distinct;
use crate::component::{Engine, Functions};
use crate::contract::trust::{ErrorBound, Label, LabelSource};
use crate::embedder::{EmbedError, Embedder, Embedding, Guarded};
use crate::error::{Error, Result};
use crate::host::ManualClock;
use crate::request::{DEFAULT_NAMESPACE, GetRequest, Layer, Lookup, MissReason, PutRequest};
use crate::store::MemoryStore;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A question of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    query: String,
    namespace: String,
    truth: Option<Truth>,
    time: Option<u64>,
}

/// What tells whether two questions have the same answer. Truths of different kinds cannot be
/// compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// The answer itself, which is stored on a miss.
    Response(String),
    /// The name of what is meant, such as an intent.
    Label(String),
}

impl Truth {
    /// Whether both mean the same, if that is known.
    fn agrees(&self, other: &Truth) -> Option<bool> {
        match (self, other) {
            (Truth::Response(a), Truth::Response(b)) | (Truth::Label(a), Truth::Label(b)) => {
                Some(a == b)
            }
            _ => None,
        }
    }

    /// What a cache would store: two are equal where the answers are.
    fn response(&self) -> &str {
        match self {
            Truth::Response(text) | Truth::Label(text) => text,
        }
    }
}

impl Question {
    /// A question in the namespace `default`, whose answer and time are not known.
    pub fn new(query: impl Into<String>) -> Self {
        Question {
            query: query.into(),
            namespace: DEFAULT_NAMESPACE.into(),
            truth: None,
            time: None,
        }
    }

    /// The question itself.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Asked in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What tells whether a hit is right.
    #[must_use]
    pub fn truth(mut self, truth: Truth) -> Self {
        self.truth = Some(truth);
        self
    }

    /// Whether a hit on it can be judged.
    pub fn has_truth(&self) -> bool {
        self.truth.is_some()
    }

    /// When it was asked, in seconds since the Unix epoch: answers age between two questions.
    /// Without times, the clock stands still.
    #[must_use]
    pub fn time(mut self, seconds: u64) -> Self {
        self.time = Some(seconds);
        self
    }
}

/// An embedded log, which can be replayed any number of times.
pub struct Replay<'a> {
    log: &'a [Question],
    embedder: Known,
    normalize: bool,
    options: Box<dyn Fn(Builder) -> Builder + 'a>,
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("questions", &self.log.len())
            .finish_non_exhaustive()
    }
}

/// What decides which similar questions are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The similarity, from this threshold on, -1 to 1.
    Threshold(f32),
    /// Labels. The replay plays the part of a host that computes after each miss and compares: the truths
    /// of the log say what is the same, and where they do not, nobody can say. What is asked in other
    /// words and stored under a label is compared by that.
    Bound(ErrorBound),
}

/// The result of a log by one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The rule.
    pub rule: Rule,
    /// Questions asked.
    pub questions: u64,
    /// Hits of the exact layer.
    pub exact: u64,
    /// Hits of the semantic layer.
    pub semantic: u64,
    /// Questions that missed because of vetoes.
    pub vetoed: u64,
    /// Questions that an entry could have answered, and that missed to get a label.
    pub explored: u64,
    /// Hits that could be judged right or wrong.
    pub judged: u64,
    /// Of these, the hits with another question's answer.
    pub wrong: u64,
    /// The wrong hits, in the order of the log.
    pub wrong_hits: Vec<WrongHit>,
}

/// A question that got another one's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrongHit {
    /// The place of the question in the log, from 0.
    pub question: usize,
    /// The place of the question whose answer it got.
    pub answered_as: usize,
    /// How similar they are, -1 to 1.
    pub similarity: f32,
}

impl Outcome {
    /// Answers from the cache: calls of the expensive function that were saved.
    pub fn hits(&self) -> u64 {
        self.exact + self.semantic
    }

    /// The share of questions that were answered from the cache, 0 to 1.
    pub fn hit_rate(&self) -> f64 {
        self.hits() as f64 / self.questions.max(1) as f64
    }

    /// The share of wrong hits among those that could be judged, 0 to 1; none if no hit could
    /// be judged.
    pub fn wrong_hit_rate(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.wrong as f64 / self.judged as f64)
    }

    /// Wrong hits as a share of all questions, 0 to 1; none if no hit could be judged.
    pub fn wrong_of_requests(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.wrong as f64 / self.questions.max(1) as f64)
    }
}

impl<'a> Replay<'a> {
    /// Embeds the questions, each different one once and normalised, as a cache with the default
    /// options does.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a log that is empty, or whose times are not in order or
    /// missing in some questions; [`Error::Embedder`]; [`Error::Component`].
    pub fn new(log: &'a [Question], embedder: &Guarded) -> Result<Self> {
        Self::with_progress(log, embedder, true, |_, _| {})
    }

    /// The same; `normalize` is [`Builder::normalize`], and `progress` receives how many texts of
    /// how many are embedded.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_progress(
        log: &'a [Question],
        embedder: &Guarded,
        normalize: bool,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self> {
        check(log)?;
        let mut functions = Functions::start(&Engine::shared()?)?;
        let mut texts = Vec::with_capacity(log.len());
        for question in log {
            let text = functions.compared_text(&question.query, normalize)?;
            // No cache embeds a blank one.
            if !text.trim().is_empty() {
                texts.push(text);
            }
        }
        let embeddings = embed_distinct(&texts, embedder, progress)?;
        Ok(Replay {
            log,
            normalize,
            embedder: Known {
                fingerprint: embedder.fingerprint().to_owned(),
                dim: embedder.dim(),
                embeddings: Arc::new(embeddings),
            },
            options: Box::new(|builder| builder),
        })
    }

    /// Sets other options than the defaults for the caches. The replay sets their store,
    /// embedder, clock, threshold and normalising itself.
    #[must_use]
    pub fn options(mut self, options: impl Fn(Builder) -> Builder + 'a) -> Self {
        self.options = Box::new(options);
        self
    }

    /// Replays the log at one threshold, -1 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for options and questions that the cache refuses, and its
    /// other errors.
    pub fn run(&self, threshold: f32) -> Result<Outcome> {
        self.run_by(Rule::Threshold(threshold))
    }

    /// Replays the log by one rule.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_by(&self, rule: Rule) -> Result<Outcome> {
        let start = self.log.first().and_then(|question| question.time);
        let clock = ManualClock::at(start.unwrap_or_default());
        let builder = (self.options)(SemanticCache::builder());
        let builder = match rule {
            Rule::Threshold(threshold) => builder.similarity_threshold(threshold),
            Rule::Bound(bound) => builder.error_bound(bound),
        };
        let cache = builder
            .store(MemoryStore::new())
            .embedder(self.embedder.clone())
            .clock(clock.clone())
            .normalize(self.normalize)
            .open()?;
        let mut outcome = Outcome {
            rule,
            questions: 0,
            exact: 0,
            semantic: 0,
            vetoed: 0,
            explored: 0,
            judged: 0,
            wrong: 0,
            wrong_hits: Vec::new(),
        };
        // By the id of an entry, the question that it answers.
        let mut stored: HashMap<u64, usize> = HashMap::new();
        for (place, question) in self.log.iter().enumerate() {
            if let Some(time) = question.time {
                clock.set(Duration::from_secs(time));
            }
            outcome.questions += 1;
            let request = GetRequest::new(&question.query).namespace(&question.namespace);
            let hit = match cache.get(request)? {
                Lookup::Hit(hit) => hit,
                Lookup::Miss(miss) => {
                    match miss.reason {
                        MissReason::Vetoed => outcome.vetoed += 1,
                        MissReason::Explored => outcome.explored += 1,
                        _ => {}
                    }
                    if let Some(nearest) = miss.nearest {
                        let source = stored.get(&nearest.candidate.id).copied();
                        let label = match source.and_then(|source| self.agree(place, source)) {
                            Some(true) => Label::Same,
                            Some(false) => Label::Different,
                            None => Label::Unknown,
                        };
                        let name = &question.namespace;
                        cache.feedback(name, &nearest.ticket, label, LabelSource::Compared)?;
                    }
                    // Answers that nobody knows are not equal.
                    let unknown = || format!("? {place}");
                    let truth = question.truth.as_ref();
                    let response = truth.map_or_else(unknown, |truth| truth.response().to_owned());
                    let put = PutRequest::new(&question.query, response);
                    let id = cache.put(put.namespace(&question.namespace))?;
                    stored.insert(id, place);
                    continue;
                }
            };
            match hit.layer {
                Layer::Exact => outcome.exact += 1,
                Layer::Semantic => outcome.semantic += 1,
            }
            let Some(&source) = stored.get(&hit.id) else {
                continue;
            };
            if let Some(agrees) = self.agree(place, source) {
                outcome.judged += 1;
                if !agrees {
                    outcome.wrong += 1;
                    outcome.wrong_hits.push(WrongHit {
                        question: place,
                        answered_as: source,
                        similarity: hit.similarity,
                    });
                }
            }
        }
        Ok(outcome)
    }

    /// Whether two questions of the log have the same answer, if that is known.
    fn agree(&self, asked: usize, given: usize) -> Option<bool> {
        let asked = self.log[asked].truth.as_ref()?;
        asked.agrees(self.log[given].truth.as_ref()?)
    }
}

fn check(log: &[Question]) -> Result<()> {
    let Some(first) = log.first() else {
        return Err(Error::InvalidArgument(
            "the log has no question; give one with some".into(),
        ));
    };
    let mut before = first.time;
    for (place, question) in log.iter().enumerate() {
        let wrong = match (before, question.time) {
            (Some(before), Some(time)) if time < before => "is before that of the one before it",
            (Some(_), None) => "is missing, and others have one",
            (None, Some(_)) => "is given, and others have none",
            _ => "",
        };
        if !wrong.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "the time of question {} {wrong}; give every question its time, in order, or none",
                place + 1
            )));
        }
        before = question.time;
    }
    Ok(())
}

/// Knows the vectors of some texts.
#[derive(Clone)]
struct Known {
    fingerprint: String,
    dim: u32,
    embeddings: Arc<HashMap<String, Embedding>>,
}

impl Embedder for Known {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
        let embeddings = self.read(texts)?.into_iter();
        Ok(embeddings.map(|embedding| embedding.vector).collect())
    }

    fn read(&self, texts: &[&str]) -> std::result::Result<Vec<Embedding>, EmbedError> {
        let find = |text: &&str| self.embeddings.get(*text).cloned();
        let embeddings: Option<Vec<_>> = texts.iter().map(find).collect();
        embeddings
            .ok_or_else(|| EmbedError::permanent("the replay knows the questions of its log only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts are numbers, and angles in degrees.
    struct Angles;

    impl Embedder for Angles {
        fn fingerprint(&self) -> &str {
            "angles"
        }

        fn dim(&self) -> u32 {
            2
        }

        fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
            let embed = |text: &&str| {
                let angle: f32 = text
                    .parse()
                    .map_err(|_| EmbedError::permanent("no angle"))?;
                let (sin, cos) = angle.to_radians().sin_cos();
                Ok(vec![cos, sin])
            };
            texts.iter().map(embed).collect()
        }
    }

    /// Numbers that differ are no veto here.
    fn replay(log: &[Question]) -> Replay<'_> {
        let replay = Replay::new(log, &Guarded::new(Angles)).unwrap();
        replay.options(|builder| builder.vetoes([]))
    }

    fn label(angle: &str, label: &str) -> Question {
        Question::new(angle).truth(Truth::Label(label.into()))
    }

    #[test]
    fn hits_are_judged_by_what_is_known() {
        let log = [
            label("0", "a"),
            label("5", "a"),
            label("10", "b"),
            label("0", "a"),
            Question::new("1"),
            Question::new("2").truth(Truth::Response("r".into())),
            label("90", "c"),
            label("90", "d").namespace("other"),
        ];
        let replay = replay(&log);
        let lax = replay.run(0.9).unwrap();
        assert_eq!((lax.questions, lax.exact, lax.semantic), (8, 1, 4));
        assert_eq!((lax.judged, lax.wrong), (3, 1));
        let wrong = lax.wrong_hits[0];
        assert_eq!((wrong.question, wrong.answered_as), (2, 0));
        assert!((wrong.similarity - 10_f32.to_radians().cos()).abs() < 1e-6);
        assert_eq!(lax.wrong_hit_rate(), Some(1.0 / 3.0));
        assert_eq!(lax.hit_rate(), 5.0 / 8.0);
        // 5 and 10 are stored themselves, so that 10 gets no other answer.
        let strict = replay.run(0.9999).unwrap();
        assert_eq!((strict.hits(), strict.wrong), (1, 0));
        let none = replay.run(1.0).unwrap();
        assert_eq!(none.semantic, 0);
    }

    #[test]
    fn answers_age_between_questions() {
        let log: Vec<Question> = [("0", 100), ("1", 200), ("2", 100 + 86_400)]
            .map(|(angle, time)| label(angle, "a").time(time))
            .into();
        assert_eq!(replay(&log).run(0.9).unwrap().semantic, 2);
        let doubtful = Replay::new(&log, &Guarded::new(Angles))
            .unwrap()
            .options(|builder| builder.confidence_decay(86_400, 0.7).vetoes([]));
        assert_eq!(doubtful.run(0.9).unwrap().semantic, 1);
    }

    #[test]
    fn a_blank_question_is_embedded_by_nobody() {
        let log = [Question::new(" "), Question::new(""), Question::new("0")];
        // The embedder knows numbers only.
        let replay = Replay::new(&log, &Guarded::new(Angles)).unwrap();
        assert_eq!(replay.run(0.9).unwrap().exact, 1);
    }

    #[test]
    fn logs_that_make_no_sense_are_refused() {
        let timed = |seconds| Question::new("0").time(seconds);
        for (log, expected) in [
            (vec![], "no question"),
            (vec![timed(5), timed(4)], "question 2 is before"),
            (vec![timed(5), Question::new("0")], "question 2 is missing"),
            (vec![Question::new("0"), timed(1)], "question 2 is given"),
        ] {
            let error = Replay::new(&log, &Guarded::new(Angles))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        let blank = [Question::new("what?")];
        assert!(matches!(
            Replay::new(&blank, &Guarded::new(Angles)),
            Err(Error::Embedder(_))
        ));
        let log = [Question::new("0").namespace("")];
        let replay = Replay::new(&log, &Guarded::new(Angles)).unwrap();
        assert!(matches!(replay.run(0.5), Err(Error::InvalidArgument(_))));
        assert!(replay.run(1.5).is_err());
    }
}
