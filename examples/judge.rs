//! Lets a language model judge answers before they are given, and labels them for an error bound.
//!
//! `cargo run --release --package mneme-examples --example judge`
//!
//! With `JUDGE_URL=http://localhost:11434/v1` and `JUDGE_MODEL=qwen3:4b` (Ollama, vLLM, llama.cpp or any other
//! server of OpenAI's API of chats; its key in `JUDGE_KEY`) that model judges. Without them a stand-in does,
//! which takes two questions for the same if they share their rarer words.

use anyhow::{Context, ensure};
use mneme::embedder::MiniLm;
use mneme::verifier::{HttpVerifier, Opinion, Verifier, VerifyError};
use mneme::{
    Candidate, ErrorBound, Label, LabelSource, Lookup, MemoryStore, MissReason, PutRequest,
    SemanticCache,
};
use std::env;
use std::time::Duration;

const STORED: [(&str, &str); 3] = [
    (
        "How do I reset my password?",
        "Follow the link on the sign-in page.",
    ),
    ("Can I pay by invoice?", "Yes, from 100 euros on."),
    (
        "How do I cancel my subscription?",
        "Under Account, choose Cancel.",
    ),
];

const ASKED: [&str; 5] = [
    "I forgot my password, how can I reset it?",
    "Is it possible to pay by invoice?",
    "How can I cancel the subscription?",
    "How do I change my password?",
    "How do I renew my subscription?",
];

/// Judges without a model.
fn stand_in(candidate: &Candidate) -> Result<Opinion, VerifyError> {
    let topics = ["reset", "cancel", "change", "renew", "invoice"];
    let of = |text: &str| {
        let text = text.to_lowercase();
        topics.map(|topic| text.contains(topic))
    };
    Ok(match of(&candidate.query) == of(&candidate.entry_query) {
        true => Opinion::Yes,
        false => Opinion::No,
    })
}

fn judge() -> anyhow::Result<Box<dyn Verifier>> {
    let Ok(url) = env::var("JUDGE_URL") else {
        return Ok(Box::new(stand_in));
    };
    let model = env::var("JUDGE_MODEL").context("JUDGE_MODEL names the model of JUDGE_URL")?;
    let judge = HttpVerifier::chat(url, model)
        .api_key(env::var("JUDGE_KEY").unwrap_or_default())
        .timeout(Duration::from_secs(30));
    Ok(Box::new(judge.build()?))
}

/// Nothing answers by its meaning that the judge does not let through.
fn before_answering() -> anyhow::Result<()> {
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(MiniLm::new())
        .boxed_verifier(judge()?)
        .verify_timeout(Duration::from_secs(30))
        .verify_band(0.6)
        .open()?;
    for (question, answer) in STORED {
        cache.put(PutRequest::new(question, answer))?;
    }
    println!("judged before answering:");
    for question in ASKED {
        match cache.get(question)? {
            Lookup::Hit(hit) => println!("  {question} -> {}", hit.response),
            Lookup::Miss(miss) => println!("  {question} -> miss: {}", miss.reason.name()),
        }
    }
    if env::var_os("JUDGE_URL").is_none() {
        let lookup = cache.get("How do I change my password?")?;
        ensure!(
            matches!(lookup, Lookup::Miss(miss) if miss.reason == MissReason::Unverified),
            "the stand-in says no"
        );
    }
    Ok(())
}

/// A judge that has time labels what was near, so that the error bound can open without it.
fn afterwards() -> anyhow::Result<()> {
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(MiniLm::new())
        .error_bound(ErrorBound::answers(0.05))
        .open()?;
    for (question, answer) in STORED {
        cache.put(PutRequest::new(question, answer))?;
    }
    let judge = judge()?;
    for question in ASKED {
        // A program would compute the answer now, and let the judge work later.
        if let Lookup::Miss(miss) = cache.get(question)?
            && let Some(nearest) = miss.nearest
        {
            let label = match judge.verify(&nearest.candidate)? {
                Opinion::Yes => Label::Same,
                Opinion::No => Label::Different,
                // A label must not depend on what it would say, so that this is one too.
                Opinion::Unknown => Label::Unknown,
                Opinion::Failed => continue,
            };
            let namespace = &nearest.candidate.namespace;
            cache.feedback(namespace, &nearest.ticket, label, LabelSource::Judged)?;
        }
    }
    let bound = cache.stats(Some(mneme::DEFAULT_NAMESPACE))?.bound;
    let bound = bound.context("the cache has a bound")?;
    println!(
        "judged afterwards: {} labels, {} wrong: {}",
        bound.labels,
        bound.wrong,
        bound.state.name()
    );
    ensure!(bound.labels > 0, "nothing was near");
    Ok(())
}

fn main() -> anyhow::Result<()> {
    before_answering()?;
    afterwards()
}
