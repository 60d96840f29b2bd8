//! `demo`.

mod questions;
mod report;

use std::time::Instant;

use anyhow::{Context, Result};
use mneme::store::staged::stage;
use mneme::{GetRequest, Lookup, PutRequest};
use serde::Deserialize;

use crate::args::Global;
use crate::embedder_spec::EmbedderSpec;
use crate::output::Output;
use crate::session::Session;
use crate::store_url::StoreUrl;

use questions::{QUESTIONS, Question};
use report::{Asked, Filled, THRESHOLD};

/// The answers that the cache starts with, as `import` reads them.
const FAQ: &str = include_str!("demo/faq.jsonl");

#[derive(Deserialize)]
struct Faq {
    query: String,
    response: String,
}

/// `demo`. Ignores the environment, so it does not fill the cache that $MNEME_STORE names.
pub fn demo(global: &Global, out: Output) -> Result<u8> {
    global.verifying.refuse("demo")?;
    global.bounding.refuse("demo")?;
    let spec = EmbedderSpec::parse(global.embedder.as_deref().unwrap_or("minilm"))?;
    let folder = stage(tempfile::tempdir).context("demo: cannot make a temporary directory")?;
    let store = match &global.store {
        Some(url) => StoreUrl::new(url),
        None => StoreUrl::new(format!(
            "sqlite:{}",
            folder.path().join("demo.db").display()
        )),
    };
    let namespace = global.namespace.as_deref().unwrap_or("demo");
    let session = Session::with(&store, &spec, global.embed_timeout(), |builder| {
        Ok(global
            .comparing
            .apply(builder)
            .similarity_threshold(THRESHOLD))
    })?;
    let kept = global.store.is_some().then_some(namespace);
    report::begin(out, &session, &store, kept)?;

    let filled = fill(&session, namespace)?;
    report::filled(out, &filled)?;
    let mut asked = Vec::new();
    for question in QUESTIONS {
        report::heading(out, asked.last(), question)?;
        let answer = ask(&session, namespace, question)?;
        report::asked(out, &answer)?;
        asked.push(answer);
    }
    report::end(out, &session, &filled, &asked)?;
    session.cache.close()?;
    Ok(0)
}

fn fill(session: &Session, namespace: &str) -> Result<Filled> {
    let mut requests = Vec::new();
    for line in FAQ.lines() {
        let faq: Faq = serde_json::from_str(line).context("demo: the questions are damaged")?;
        requests.push(PutRequest::new(faq.query, faq.response).namespace(namespace));
    }
    let entries = requests.len();
    let started = Instant::now();
    session.cache.put_many(requests)?;
    let total = started.elapsed();
    let embedding = session.embedder.take_spent();
    Ok(Filled {
        entries,
        embedding,
        cache: total.saturating_sub(embedding),
    })
}

fn ask(session: &Session, namespace: &str, question: &'static Question) -> Result<Asked> {
    let request = GetRequest::new(question.text).namespace(namespace);
    let started = Instant::now();
    let lookup = session.cache.get(request)?;
    let total = started.elapsed();
    let embedding = session.embedder.take_spent();
    let nearest = match &lookup {
        Lookup::Hit(_) => None,
        Lookup::Miss(_) => {
            let request = GetRequest::new(question.text).namespace(namespace);
            let explained = session.cache.explain(request, 1)?.explanation;
            explained.candidates.into_iter().next()
        }
    };
    session.embedder.take_spent();
    Ok(Asked {
        question,
        lookup,
        nearest,
        embedding: (!embedding.is_zero()).then_some(embedding),
        cache: total.saturating_sub(embedding),
    })
}
