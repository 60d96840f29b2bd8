//! Asking, storing and deleting.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mneme::embedder::EmbedError;
use mneme::verifier::VerifyError;
use mneme::{Error, GetRequest, Label, LabelSource, Lookup, PutRequest, VetoKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fault::{Fault, Logged, of_embedder};
use super::request::{Body, Namespace};
use super::served::Served;
use crate::{json, ttl_field};

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question, of at most 32 KiB.
    query: String,
    /// Only answers of this context serve, byte for byte; at most 1,024 bytes. Default: empty.
    #[serde(default)]
    context: String,
    /// Only answers that carry each of these tags serve; at most 32 of 1 to 128 bytes.
    #[serde(default)]
    tags: Vec<String>,
    /// Its embedding, if the server should not compute it: as many numbers as the store has
    /// dimensions.
    embedding: Option<Vec<f32>>,
    /// The least similarity of an answer to a question in other words, -1 to 1. Default: the
    /// server's.
    threshold: Option<f32>,
    /// The greatest age of an answer, in seconds. Default: any.
    max_age: Option<u64>,
    /// Do not embed the question: only its exact words find an answer. Not with `embedding`.
    #[serde(default)]
    exact_only: bool,
    /// Miss at once, and count it.
    #[serde(default)]
    bypass: bool,
    /// The vetoes to look for: `opposites`, `negation`, `numbers`, `dates`, `identifiers`, `roles`,
    /// `names`, `question_word`; an empty list switches them off. Default: the server's.
    vetoes: Option<Vec<String>>,
}

impl Question {
    fn request(self, namespace: String) -> Result<GetRequest, Fault> {
        one_of(self.embedding.as_ref(), self.exact_only)?;
        let mut request = GetRequest::new(self.query)
            .namespace(namespace)
            .context(self.context)
            .tags(self.tags)
            .bypass(self.bypass);
        if let Some(embedding) = self.embedding {
            request = request.embedding(embedding);
        }
        if self.exact_only {
            request = request.exact_only();
        }
        if let Some(threshold) = self.threshold {
            request = request.threshold(threshold);
        }
        if let Some(max_age) = self.max_age {
            request = request.max_age(max_age);
        }
        Ok(match self.vetoes {
            Some(names) => request.vetoes(kinds(&names)?),
            None => request,
        })
    }
}

/// The kinds of vetoes of these names.
fn kinds(names: &[String]) -> Result<Vec<VetoKind>, Fault> {
    let kind = |name: &String| {
        let name = name.replace('-', "_");
        one("vetoes", &name, VetoKind::ALL, VetoKind::name)
    };
    names.iter().map(kind).collect()
}

/// The one of these that has this name.
fn one<T: Copy, const N: usize>(
    field: &str,
    name: &str,
    all: [T; N],
    name_of: fn(T) -> &'static str,
) -> Result<T, Fault> {
    let found = all.into_iter().find(|one| name_of(*one) == name);
    found.ok_or_else(|| {
        Fault::bad_request(format!(
            "{field}: {:?} is unknown; give one of {}",
            name.chars().take(40).collect::<String>(),
            all.map(name_of).join(", ")
        ))
    })
}

/// Refuses an embedding that would have no use.
fn one_of(embedding: Option<&Vec<f32>>, exact_only: bool) -> Result<(), Fault> {
    match embedding {
        Some(_) if exact_only => Err(Fault::bad_request(crate::embedding::ONE_OF_BOTH)),
        _ => Ok(()),
    }
}

/// Leaves of the embedder's failure what a client may know, and returns the rest for the log.
fn hide(failure: &mut Option<EmbedError>) -> Option<Logged> {
    let error = failure.as_mut()?;
    let shown = of_embedder(error.retryable).to_owned();
    let message = std::mem::replace(&mut error.message, shown);
    Some(Logged(format!("the embedder failed: {message}")))
}

/// The verifier's failure, for the log.
fn of_verifier(error: &VerifyError) -> Logged {
    Logged(format!("the verifier failed: {error}"))
}

fn answer(result: impl Serialize, log: Option<Logged>) -> Response {
    let mut response = Json(result).into_response();
    if let Some(log) = log {
        response.extensions_mut().insert(log);
    }
    response
}

/// Look up the answer to a question
///
/// A miss is a result, not an error.
#[utoipa::path(
    post,
    path = "/get",
    request_body = Question,
    responses((status = 200, description = "A hit or a miss", body = json::Lookup), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn get(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(question, _): Body<Question>,
) -> Result<Response, Fault> {
    let request = question.request(namespace)?;
    let mut lookup = served.call(served.cache.get(request)).await?;
    let log = match &mut lookup {
        Lookup::Miss(miss) => {
            hide(&mut miss.embedder_error).or_else(|| miss.verifier_error.as_ref().map(of_verifier))
        }
        Lookup::Hit(_) => None,
    };
    Ok(answer(json::Lookup::from(&lookup), log))
}

/// A question to explain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// The question, of at most 32 KiB.
    query: String,
    /// As in `get`.
    #[serde(default)]
    context: String,
    /// As in `get`.
    #[serde(default)]
    tags: Vec<String>,
    /// Its embedding, if the server should not compute it.
    embedding: Option<Vec<f32>>,
    /// As in `get`.
    threshold: Option<f32>,
    /// As in `get`.
    max_age: Option<u64>,
    /// As in `get`.
    #[serde(default)]
    exact_only: bool,
    /// As in `get`.
    vetoes: Option<Vec<String>>,
    /// How many of the nearest entries to show, 1 to 1,000. Default 10.
    #[serde(default = "ten")]
    limit: u32,
}

fn ten() -> u32 {
    10
}

/// Say how a question would be answered, and why
///
/// Counts nothing and changes nothing.
#[utoipa::path(
    post,
    path = "/explain",
    request_body = Explained,
    responses((status = 200, description = "The explanation", body = json::Explanation), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn explain(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(body, _): Body<Explained>,
) -> Result<Response, Fault> {
    let question = Question {
        query: body.query,
        context: body.context,
        tags: body.tags,
        embedding: body.embedding,
        threshold: body.threshold,
        max_age: body.max_age,
        exact_only: body.exact_only,
        bypass: false,
        vetoes: body.vetoes,
    };
    let request = question.request(namespace)?;
    let explain = served.cache.explain(request, body.limit);
    let mut explained = served.call(explain).await?;
    let log = hide(&mut explained.embedder_error)
        .or_else(|| explained.verifier_error.as_ref().map(of_verifier));
    Ok(answer(json::Explanation::from(&explained), log))
}

/// What was found about an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The ticket of a hit, or of the `nearest` of a miss, at most a day old.
    ticket: String,
    /// `same`: the stored answer is the right one. `different`: it is not. `unknown`: nobody can say,
    /// which counts as wrong.
    label: String,
    /// Who found it: `compared`, `judged` or `user`. Default: `user`.
    source: Option<String>,
}

/// What the labels say.
#[derive(Debug, Serialize, ToSchema)]
pub struct Labelled {
    bound: Option<json::Bound>,
}

/// Label the answer of a look-up, for the error bound
///
/// Each ticket is taken once, by any server on the same store, which remembers the last 512.
#[utoipa::path(
    post,
    path = "/feedback",
    request_body = Feedback,
    responses((status = 200, description = "What the labels of the namespace say now", body = Labelled), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn feedback(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(feedback, _): Body<Feedback>,
) -> Result<Response, Fault> {
    let label = one("label", &feedback.label, Label::ALL, Label::name)?;
    let source = feedback.source.as_deref().unwrap_or("user");
    let source = one("source", source, LabelSource::ALL, LabelSource::name)?;
    let give = async {
        let cache = &served.cache;
        cache
            .feedback(namespace.as_str(), feedback.ticket, label, source)
            .await?;
        cache.stats(Some(namespace)).await
    };
    let stats = served.call(give).await?;
    let bound = stats.bound.as_ref().map(Into::into);
    Ok(answer(Labelled { bound }, None))
}

/// An answer to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The question, of at most 32 KiB.
    query: String,
    /// The answer, of at most 4 MiB.
    response: String,
    /// What the answer depends on beside the question; at most 1,024 bytes. Default: empty.
    #[serde(default)]
    context: String,
    /// Tags to ask and erase by; at most 32 of 1 to 128 bytes. Default: none.
    #[serde(default)]
    tags: Vec<String>,
    /// Lifetime in seconds; null: unlimited. Default: the server's.
    #[serde(default, deserialize_with = "ttl_field::present")]
    #[schema(value_type = Option<u64>)]
    ttl: ttl_field::TtlField,
    /// An object to store with the answer, of at most 64 KiB. Default: empty.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// The question's embedding, if the server should not compute it.
    embedding: Option<Vec<f32>>,
    /// Do not embed the question: only its exact words find the answer. Not with `embedding`.
    #[serde(default)]
    exact_only: bool,
    /// If the question cannot be embedded now, store the answer as with `exact_only`. Without it
    /// that is an error, and nothing is stored.
    #[serde(default)]
    exact_only_if_needed: bool,
}

/// What was stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stored {
    /// The entry's id in the store.
    id: u64,
    /// Whether the question was not embedded, by `exact_only` or `exact_only_if_needed`.
    exact_only: bool,
}

/// Store the answer to a question, replacing the one it has
///
/// The response comes after the store has accepted the entry. If the embedder fails, it is the error
/// `embedder`, with status 502 or 503, unless `exact_only` or `exact_only_if_needed` is true.
#[utoipa::path(
    post,
    path = "/put",
    request_body = Put,
    responses((status = 200, description = "Stored", body = Stored), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn put(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(put, _): Body<Put>,
) -> Result<Response, Fault> {
    one_of(put.embedding.as_ref(), put.exact_only)?;
    let mut request = PutRequest::new(put.query, put.response)
        .namespace(namespace)
        .context(put.context)
        .tags(put.tags)
        .ttl(ttl_field::ttl(put.ttl));
    if let Some(metadata) = put.metadata {
        request = request.metadata(Value::from(metadata).to_string());
    }
    if let Some(embedding) = put.embedding {
        request = request.embedding(embedding);
    }
    if put.exact_only {
        request = request.exact_only();
    }
    let without = put
        .exact_only_if_needed
        .then(|| request.clone().exact_only());
    let store = async {
        match (served.cache.put(request).await, without) {
            (Err(Error::Embedder(error)), Some(without)) => {
                let id = served.cache.put(without).await?;
                Ok((id, Some(error)))
            }
            (stored, _) => stored.map(|id| (id, None)),
        }
    };
    let (id, mut failure) = served.call(store).await?;
    let exact_only = put.exact_only || failure.is_some();
    Ok(answer(Stored { id, exact_only }, hide(&mut failure)))
}

/// The question of an entry to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The question, as it was stored. Case and spacing do not count, unless the server keeps them.
    query: String,
    /// The context that it was stored in. Default: empty.
    #[serde(default)]
    context: String,
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Whether there was an entry.
    deleted: bool,
}

/// Delete the answer to a question, found by its words
#[utoipa::path(
    post,
    path = "/delete",
    request_body = Delete,
    responses((status = 200, description = "Whether there was one", body = Deleted), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn delete(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(body, _): Body<Delete>,
) -> Result<Json<Deleted>, Fault> {
    let Delete { query, context } = body;
    let delete = served.cache.delete_in_context(query, namespace, context);
    let deleted = served.call(delete).await?;
    Ok(Json(Deleted { deleted }))
}
