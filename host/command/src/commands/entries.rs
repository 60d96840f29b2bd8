//! `get`, `put` and `delete`.

use std::io::Read;

use anyhow::{Context, Result};
use mneme::{GetRequest, Hit, Lookup, PutRequest, Ttl};
use serde_json::json;

use crate::args::{Get, Global, Put, Question};
use crate::embedder_spec::Texts;
use crate::embedding;
use crate::json;
use crate::output::{self, Output};
use crate::session::Session;

/// `get`: 0 for a hit, 1 for a miss.
pub fn get(global: &Global, out: Output, args: &Get) -> Result<u8> {
    let request = question(&args.question, global.namespace())?.bypass(args.bypass);
    let session = Session::existing(global)?;
    let lookup = session.cache.get(request)?;
    session.close_after_answer(out);
    match lookup {
        Lookup::Hit(hit) => {
            out.note(&describe(&hit));
            out.result(
                || json::value(&json::Hit::from(&hit)),
                || with_line_end(&hit.response),
            )?;
            Ok(0)
        }
        Lookup::Miss(miss) => {
            out.warn_of(&miss);
            out.note(&format!("miss: {}", miss.reason.name()));
            out.result(|| json::value(&json::Miss::from(&miss)), String::new)?;
            Ok(1)
        }
    }
}

/// The question on the command line.
pub fn question(args: &Question, namespace: &str) -> Result<GetRequest> {
    let mut request = GetRequest::new(&args.query).namespace(namespace);
    request = request.tags(&args.scope.tags);
    if let Some(context) = &args.scope.context {
        request = request.context(context);
    }
    if let Some(text) = &args.embedding {
        request = request.embedding(embedding::parse(text)?);
    }
    if args.exact {
        request = request.exact_only();
    }
    if let Some(seconds) = args.max_age {
        request = request.max_age(seconds);
    }
    Ok(match args.threshold {
        Some(threshold) => request.threshold(threshold),
        None => request,
    })
}

/// A hit in one line.
pub fn describe(hit: &Hit) -> String {
    format!(
        "{} hit: similarity {:.3}, confidence {:.3}, {} old, asked as {:?}",
        hit.layer.name(),
        hit.similarity,
        hit.confidence,
        output::age(hit.age_seconds),
        hit.query,
    )
}

/// An empty response is printed as an empty line.
fn with_line_end(response: &str) -> String {
    match response {
        "" => "\n".into(),
        response => response.into(),
    }
}

/// What is read of a response; a cache refuses one that is as long.
const MAX_RESPONSE: u64 = 32 << 20;

/// `put`
pub fn put(global: &Global, out: Output, args: &Put) -> Result<u8> {
    let response = if args.response == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_RESPONSE)
            .read_to_string(&mut text)
            .context("cannot read the response from standard input")?;
        text
    } else {
        args.response.clone()
    };
    let mut request = PutRequest::new(&args.query, response)
        .namespace(global.namespace())
        .tags(&args.scope.tags);
    if let Some(context) = &args.scope.context {
        request = request.context(context);
    }
    if let Some(text) = &args.embedding {
        request = request.embedding(embedding::parse(text)?);
    }
    if args.exact_only {
        request = request.exact_only();
    }
    if let Some(seconds) = args.ttl {
        request = request.ttl(Ttl::Seconds(seconds));
    }
    if let Some(metadata) = &args.metadata {
        request = request.metadata(metadata);
    }
    let session = match args.exact_only || args.embedding.is_some() {
        true => Session::open(global)?,
        false => Session::open_to_embed(global, Texts::Few)?,
    };
    let stored = session.cache.put(request);
    let id = match stored {
        Err(error @ mneme::Error::Embedder(_)) => {
            let hint = "put: the question was not embedded; --exact-only stores the answer without a vector";
            return Err(error).context(hint);
        }
        stored => stored?,
    };
    session.cache.close()?;
    out.note(&format!(
        "stored as entry {id} of namespace {:?}",
        global.namespace()
    ));
    out.result(
        || json!({"id": id, "namespace": global.namespace()}),
        String::new,
    )?;
    Ok(0)
}

/// `delete`: 0 if there was an entry, else 1.
pub fn delete(global: &Global, out: Output, query: &str, context: &str) -> Result<u8> {
    let session = Session::existing(global)?;
    let deleted = session
        .cache
        .delete_in_context(query, global.namespace(), context)?;
    session.cache.close()?;
    out.note(if deleted {
        "deleted"
    } else {
        "no entry has this question"
    });
    out.result(|| json!({"deleted": deleted}), String::new)?;
    Ok(u8::from(!deleted))
}
