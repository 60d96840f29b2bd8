//! A cache over your own store.
//!
//! `cargo run --release --package mneme-examples --example custom-store`

mod dict_store;

use dict_store::DictStore;
use mneme::embedder::MiniLm;
use mneme::{PutRequest, SemanticCache};

fn main() -> anyhow::Result<()> {
    let cache = SemanticCache::builder()
        .store(DictStore::new())
        .embedder(MiniLm::new())
        .similarity_threshold(0.75)
        .open()?;
    cache.put(PutRequest::new(
        "How do I reset my password?",
        "Follow the link on the sign-in page.",
    ))?;
    for question in [
        "how do I reset my password?",
        "How can I reset my password",
        "What is the weather in Oslo?",
    ] {
        match cache.get(question)?.hit() {
            Some(hit) => println!("{question}\n    {} ({:.2})", hit.response, hit.similarity),
            None => println!("{question}\n    not known"),
        }
    }
    Ok(())
}
