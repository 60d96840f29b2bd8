//! Memoises an expensive function of text.
//!
//! `cargo run --release --package mneme-examples --example memoize`
//!
//! Four threads ask a slow "model" at the same time. It is called once for each question,
//! however often and in whatever words the question is asked.

use mneme::embedder::MiniLm;
use mneme::{GetRequest, Layer, MemoryStore, Origin, SemanticCache};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

/// Stands for a language model: counts how often it is asked.
struct Model {
    calls: AtomicU32,
}

impl Model {
    fn answer(&self, question: &str) -> Result<String, Infallible> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(format!("answer {call}, to {question:?}"))
    }
}

fn main() -> anyhow::Result<()> {
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(MiniLm::new())
        .similarity_threshold(0.8)
        .open()?;
    let model = Model {
        calls: AtomicU32::new(0),
    };

    // The same question at the same time is computed once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let question = "How do I reset my password?";
                cache.get_or_compute(question, || model.answer(question))
            });
        }
    });
    println!("four at once:  {} call", model.calls.load(Ordering::SeqCst));

    // Other words, the same meaning: the cache answers.
    for question in [
        "I forgot my password, how can I reset it?",
        "how do i RESET my password",
        "Is there a student discount?",
        "Do students get a discount?",
    ] {
        let answer = cache.get_or_compute(question, || model.answer(question))?;
        let origin = match &answer.origin {
            Origin::Cache(hit) if hit.layer == Layer::Exact => "exact hit".into(),
            Origin::Cache(hit) => format!("semantic hit, {:.2}", hit.similarity),
            Origin::Computed(stored) => format!(
                "computed, {}",
                if stored.is_ok() { "kept" } else { "not kept" }
            ),
            Origin::Shared => "shared with another thread".into(),
        };
        println!("{question:45} {origin:22} {}", answer.response);
    }

    // Another namespace: tenants never see each other's answers.
    let question = GetRequest::new("How do I reset my password?").namespace("another tenant");
    assert!(!cache.get(question)?.is_hit());

    assert_eq!(
        model.calls.load(Ordering::SeqCst),
        2,
        "two things were asked"
    );
    println!(
        "{} calls of the model for 8 questions",
        model.calls.load(Ordering::SeqCst)
    );
    cache.close()?;
    Ok(())
}
