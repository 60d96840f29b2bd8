//! How long embedding takes, beside onnxruntime on the same model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow};
use mneme::embedder::{Embedder, MiniLm, Model, ModelOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::peer::{PeerError, Process};
use crate::tally::Tally;
use crate::{PARTS, Progress};

/// Questions that a part embeds, each different.
const TEXTS: usize = 144;
/// Texts of a batch.
const BATCH: usize = 32;

/// What is embedded: questions of about as many tokens, one or several at a time.
const WORKS: [(&str, &str, usize); 3] = [
    ("9 tokens", "how do i {} my {}?", 1),
    ("13 tokens", "could you tell me how i can {} my {}?", 1),
    ("13 tokens", "could you tell me how i can {} my {}?", BATCH),
];
const VERBS: [&str; 12] = [
    "reset", "change", "cancel", "update", "delete", "find", "share", "close", "open", "print",
    "return", "track",
];
const NOUNS: [&str; 12] = [
    "password", "order", "account", "address", "email", "phone", "ticket", "contract", "card",
    "photo", "file", "report",
];

/// The times of one model and one kind of work.
pub struct Embedding {
    pub model: String,
    pub threads: usize,
    pub texts: &'static str,
    pub batch: usize,
    pub ours: Tally,
    /// Of onnxruntime, where it runs the model.
    pub peer: Option<Tally>,
}

#[derive(Deserialize)]
struct Embedded {
    times: Vec<u64>,
    first: Vec<f32>,
}

/// A model, here and perhaps in the peer.
struct Contender {
    name: String,
    ours: Box<dyn Embedder>,
    peer: Option<Process>,
}

/// Times the bundled model and those of folders, on one thread and on all cores. The second result
/// says what could not be measured, and what the peer runs.
pub fn measure(
    folders: &[PathBuf],
    python: Option<&Path>,
    progress: &Progress,
    notes: &mut Vec<String>,
    versions: &mut Map<String, Value>,
) -> Result<Vec<Embedding>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, cores];
    counts.dedup();
    let mut measured = Vec::new();
    for threads in counts {
        let mut contenders = vec![Contender {
            name: "minilm".into(),
            ours: Box::new(MiniLm::with_threads(threads)),
            peer: None,
        }];
        for folder in folders {
            progress.step(&format!("opening {}", folder.display()));
            contenders.push(contender(folder, threads, python, notes, versions)?);
        }
        for contender in contenders {
            measured.extend(run(contender, threads, progress)?);
        }
    }
    Ok(measured)
}

fn contender(
    folder: &Path,
    threads: usize,
    python: Option<&Path>,
    notes: &mut Vec<String>,
    versions: &mut Map<String, Value>,
) -> Result<Contender> {
    let mut options = ModelOptions::default();
    options.threads = Some(threads);
    let ours = Model::with(folder, options).map_err(|error| anyhow!("bench: --model: {error}"))?;
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let arguments = json!({"model": folder, "threads": threads});
    let peer = python.map(|python| Process::start(python, "onnxruntime", arguments));
    let peer = match peer.transpose() {
        Ok(Some((process, ran))) => {
            versions.extend(ran.as_object().cloned().unwrap_or_default());
            Some(process)
        }
        Ok(None) => None,
        Err(PeerError(why)) => {
            notes.push(format!("{name}: measured without onnxruntime: {why}"));
            None
        }
    };
    Ok(Contender {
        name,
        ours: Box::new(ours),
        peer,
    })
}

/// Ours and the peer take turns.
fn run(contender: Contender, threads: usize, progress: &Progress) -> Result<Vec<Embedding>> {
    let Contender {
        name,
        ours,
        mut peer,
    } = contender;
    let failed = |error| anyhow!("bench: {name}: {error}");
    let mut measured = Vec::new();
    for (tokens, template, batch) in WORKS {
        progress.step(&format!(
            "{name}, {threads} threads, {tokens}, {batch} at a time"
        ));
        let texts = texts(template);
        let mut all = Embedding {
            model: name.clone(),
            threads,
            texts: tokens,
            batch,
            ours: Tally::default(),
            peer: peer.as_ref().map(|_| Tally::default()),
        };
        // The first part warms up.
        for part in 0..=PARTS {
            let mut first = None;
            for some in texts.chunks(batch) {
                let some: Vec<&str> = some.iter().map(String::as_str).collect();
                let began = Instant::now();
                let vectors = ours.embed(&some).map_err(failed)?;
                let took = began.elapsed().as_nanos() as u64;
                if part > 0 && some.len() == batch {
                    all.ours.extend([took]);
                }
                first = first.or(vectors.into_iter().next());
            }
            if let (Some(peer), Some(times)) = (&mut peer, &mut all.peer) {
                let full = &texts[..texts.len() - texts.len() % batch];
                let arguments = json!({"texts": full, "batch": batch});
                let embedded: Embedded = peer.call("embed", arguments)?;
                let products = embedded.first.iter().zip(first.iter().flatten());
                let cosine: f32 = products.map(|(a, b)| a * b).sum();
                if cosine < 0.99 {
                    return Err(anyhow!(
                        "bench: {name}: onnxruntime gives another vector, with a cosine of {cosine}"
                    ));
                }
                if part > 0 {
                    times.extend(embedded.times);
                }
            }
        }
        measured.push(all);
    }
    Ok(measured)
}

fn texts(template: &str) -> Vec<String> {
    (0..TEXTS)
        .map(|n| {
            let with_verb = template.replacen("{}", VERBS[n % VERBS.len()], 1);
            with_verb.replacen("{}", NOUNS[n / VERBS.len() % NOUNS.len()], 1)
        })
        .collect()
}

impl Embedding {
    /// How many times as long the peer takes, at the median.
    fn ratio(&self) -> Option<f64> {
        Some(self.peer.as_ref()?.quantile(0.5)? / self.ours.quantile(0.5)?)
    }

    /// Quantiles in microseconds: our median and 99 %, then those of the peer.
    fn quantiles(&self) -> [Option<f64>; 4] {
        let of = |tally: Option<&Tally>, share| tally.and_then(|tally| tally.quantile(share));
        let (ours, peer) = (Some(&self.ours), self.peer.as_ref());
        [of(ours, 0.5), of(ours, 0.99), of(peer, 0.5), of(peer, 0.99)]
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let [p50, p99, peer_p50, peer_p99] = self.quantiles();
        json!({
            "model": self.model,
            "threads": self.threads,
            "texts": self.texts,
            "batch": self.batch,
            "ours_p50_us": p50,
            "ours_p99_us": p99,
            "onnxruntime_p50_us": peer_p50,
            "onnxruntime_p99_us": peer_p99,
            "ratio": self.ratio(),
        })
    }

    /// The fields of a table: model, threads, texts, batch, quantiles in milliseconds, ratio.
    pub fn line(&self) -> [String; 9] {
        let [p50, p99, peer_p50, peer_p99] = self.quantiles().map(|micros| {
            micros.map_or_else(String::new, |micros| format!("{:.2}", micros / 1000.0))
        });
        let ratio = self.ratio();
        [
            self.model.clone(),
            self.threads.to_string(),
            self.texts.to_owned(),
            self.batch.to_string(),
            p50,
            p99,
            peer_p50,
            peer_p99,
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        ]
    }
}
