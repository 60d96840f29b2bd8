//! [`OpenAi`]: embeddings from any server that speaks the OpenAI `/embeddings`
//! API, such as OpenAI itself, Ollama, vLLM, llama.cpp or LiteLLM.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::{EmbedError, Embedder, Embedding, MAX_DIM, Reading};
use crate::http::{self, Why};

mod wire;

use wire::Answer;

/// The most tokens that a model adds to a text. No other token has less than a byte.
const FRAME: usize = 8;

/// No wait between two attempts is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// An embedder behind an OpenAI-compatible `/embeddings` API.
///
/// ```no_run
/// use mneme::embedder::{Embedder, OpenAi};
///
/// let embedder = OpenAi::builder("http://localhost:11434/v1", "nomic-embed-text").connect()?;
/// let vectors = embedder.embed(&["how do i reset my password?"])?;
/// assert_eq!(vectors[0].len() as u32, embedder.dim());
/// # Ok::<(), mneme::embedder::EmbedError>(())
/// ```
///
/// The fingerprint is `openai:MODEL:DIM`. It does not contain the URL: the same model
/// gives the same vectors wherever it is served, and data outlives addresses. If two
/// servers use one name for different models, give them different
/// [fingerprints](OpenAiBuilder::fingerprint).
pub struct OpenAi {
    agent: Agent,
    url: String,
    /// The URL as messages show it.
    shown: String,
    model: String,
    key: Option<String>,
    fingerprint: String,
    dim: u32,
    send_dimensions: bool,
    timeout: Duration,
    retries: u32,
    backoff: Duration,
    batch: usize,
    max_tokens: Option<u32>,
}

/// Settings of [`OpenAi`]; [`connect`](Self::connect) makes the embedder.
#[derive(Clone)]
pub struct OpenAiBuilder {
    base_url: String,
    model: String,
    key: Option<String>,
    fingerprint: Option<String>,
    dim: Option<u32>,
    send_dimensions: bool,
    timeout: Duration,
    retries: u32,
    backoff: Duration,
    batch: usize,
    max_tokens: Option<u32>,
}

impl OpenAi {
    /// Begins an embedder for `model` at `base_url`, to which `/embeddings` is appended, such
    /// as `https://api.openai.com/v1` or `http://localhost:11434/v1`.
    pub fn builder(base_url: impl Into<String>, model: impl Into<String>) -> OpenAiBuilder {
        OpenAiBuilder {
            base_url: base_url.into(),
            model: model.into(),
            key: None,
            fingerprint: None,
            dim: None,
            send_dimensions: false,
            timeout: Duration::from_secs(10),
            retries: 3,
            backoff: Duration::from_millis(250),
            batch: 128,
            max_tokens: None,
        }
    }
}

impl OpenAiBuilder {
    /// The key, sent as a bearer token. None by default. No message shows it.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The number of values of the model's vectors. Without it, [`connect`](Self::connect)
    /// embeds one word to find out.
    pub fn dim(mut self, dim: u32) -> Self {
        self.dim = Some(dim);
        self.send_dimensions = false;
        self
    }

    /// Asks the server to shorten vectors to `dim` values (the API's `dimensions`
    /// field), which only some models support.
    pub fn shorten_to(mut self, dim: u32) -> Self {
        self.dim = Some(dim);
        self.send_dimensions = true;
        self
    }

    /// Replaces the fingerprint `openai:MODEL:DIM`.
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// The longest that a request may take, with the answer and all repetitions. Default 10 s. A
    /// cache waits no longer than [`Builder::embed_timeout`](crate::Builder::embed_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a request is repeated after a failed connection or the statuses
    /// 408, 429 and 5xx. Default 3. A timeout is not repeated.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The wait before the first repetition; it doubles each time, up to 8 s.
    /// Default 250 ms. A `Retry-After` of the server replaces it; if that is longer than what is left
    /// of the timeout, the request fails at once.
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// The most texts in one request, at least 1. Default 128.
    pub fn batch_size(mut self, texts: usize) -> Self {
        self.batch = texts.max(1);
        self
    }

    /// How many tokens of a text the model reads, at least 1. Many servers cut longer texts without
    /// a word, and texts that begin alike then seem to be the same. With this setting, texts of as
    /// many tokens or more are [read](Embedder::read) in part, so a cache finds them by their exact
    /// words only. The server counts the tokens (`usage.prompt_tokens`): for that, texts of as many
    /// bytes or more are sent alone. If it does not count, they are read in part. Default: unknown, so
    /// no reading is reported.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens.max(1));
        self
    }

    /// Checks the settings. If the dimension was not given, learns it with one request.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] for invalid settings, and if the request fails.
    pub fn connect(self) -> Result<OpenAi, EmbedError> {
        let Some((url, shown)) = http::endpoint(&self.base_url, "/embeddings") else {
            return Err(EmbedError::permanent(
                "openai: the base URL is not a URL; write it with its scheme, as in https://api.openai.com/v1 or http://localhost:11434/v1",
            ));
        };
        if self.model.trim().is_empty() {
            return Err(EmbedError::permanent(
                "openai: the model has no name; name one that the server has, such as text-embedding-3-small",
            ));
        }
        let key = http::key(self.key)
            .map_err(|reason| EmbedError::permanent(format!("openai: {reason}")))?;
        let agent = http::agent(self.timeout);
        let mut embedder = OpenAi {
            agent,
            url,
            shown,
            model: self.model,
            key,
            fingerprint: String::new(),
            dim: self.dim.unwrap_or(0),
            send_dimensions: self.send_dimensions,
            timeout: self.timeout,
            retries: self.retries,
            backoff: self.backoff,
            batch: self.batch,
            max_tokens: self.max_tokens,
        };
        if self.dim.is_none() {
            embedder.dim = embedder.request(&["probe"])?.vectors[0].len() as u32;
        }
        embedder.fingerprint = self
            .fingerprint
            .unwrap_or_else(|| format!("openai:{}:{}", embedder.model, embedder.dim));
        Ok(embedder)
    }
}

/// A failed attempt.
struct Failure {
    error: EmbedError,
    again: bool,
    /// The server's `Retry-After`.
    after: Option<Duration>,
}

impl OpenAi {
    /// The vectors of at most one batch.
    fn request(&self, texts: &[&str]) -> Result<Answer, EmbedError> {
        let start = Instant::now();
        let mut attempt = 0;
        loop {
            let left = self.timeout.saturating_sub(start.elapsed());
            let failure = match self.attempt(texts, left) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !failure.again || attempt >= self.retries {
                return Err(failure.error.after_attempts(attempt + 1));
            }
            let wait = failure.after.unwrap_or_else(|| {
                self.backoff
                    .saturating_mul(1 << attempt.min(16))
                    .min(MAX_BACKOFF)
            });
            if wait >= self.timeout.saturating_sub(start.elapsed()) {
                let error = match failure.after {
                    Some(after) => EmbedError::transient(format!(
                        "{}; the server asks to wait {} s, longer than what is left of the timeout: ask later",
                        failure.error,
                        after.as_secs()
                    )),
                    None => failure.error,
                };
                return Err(error.after_attempts(attempt + 1));
            }
            thread::sleep(wait);
            attempt += 1;
        }
    }

    fn attempt(&self, texts: &[&str], left: Duration) -> Result<Answer, Failure> {
        let request = self.agent.post(&self.url).config();
        // Zero would mean no limit.
        let left = left.max(Duration::from_millis(1));
        let mut request = request.timeout_global(Some(left)).build();
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let mut response = request
            .send_json(wire::Request {
                model: &self.model,
                input: texts,
                encoding_format: "float",
                dimensions: self.send_dimensions.then_some(self.dim),
            })
            .map_err(|error| self.transport(error))?;
        // A value in JSON takes some 20 bytes.
        let limit = (texts.len() * MAX_DIM as usize * 32 + (1 << 20)) as u64;
        let status = response.status();
        let after = retry_after(&response);
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        if !status.is_success() {
            return Err(self.refused(status, after, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.transport(error))?;
        wire::answer(&body, texts.len(), self.dim).map_err(|problem| {
            Failure::final_one(EmbedError::down(format!(
                "openai: {} answered with no usable embeddings: {problem}; check that the URL and the model {:?} are those of an embeddings API",
                self.shown, self.model
            )))
        })
    }

    fn transport(&self, error: ureq::Error) -> Failure {
        let unanswered = http::unanswered(error, &self.shown, "an embeddings API", self.timeout);
        let message = format!("openai: {}", unanswered.message);
        match unanswered.kind {
            Why::Again => Failure::repeated(message),
            Why::Late => Failure::final_one(EmbedError::transient(message)),
            Why::Broken => Failure::final_one(EmbedError::down(message)),
        }
    }

    /// A status other than 2xx.
    fn refused(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> Failure {
        let again = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
            );
        let remedy = match status.as_u16() {
            401 | 403 if self.key.is_none() => "the server wants an API key; pass one",
            401 | 403 => "check the API key and its rights",
            404 => "check the base URL and the model's name",
            413 => "send smaller batches or shorter texts",
            429 => "the rate or the quota is used up; ask later",
            300..400 => "the API has moved; set the base URL that it redirects to",
            400..500 => "check the model's name and the length of the text",
            _ => "the server has a problem; ask later",
        };
        // A refusal of credentials may quote them.
        let said = match status.as_u16() {
            401 | 403 => String::new(),
            _ => http::reason(body, self.key.as_deref()),
        };
        Failure {
            error: EmbedError {
                message: format!(
                    "openai: {} answered {} for the model {:?}{said}; {remedy}",
                    self.shown,
                    status.as_u16(),
                    self.model
                ),
                retryable: again,
                // Of the others, the texts are at fault.
                down: again
                    || status.is_redirection()
                    || matches!(status.as_u16(), 401 | 403 | 404),
            },
            again,
            after,
        }
    }
}

impl Failure {
    fn final_one(error: EmbedError) -> Self {
        Self {
            error,
            again: false,
            after: None,
        }
    }

    fn repeated(message: String) -> Self {
        Self {
            error: EmbedError::transient(message),
            again: true,
            after: None,
        }
    }
}

impl EmbedError {
    fn after_attempts(mut self, attempts: u32) -> Self {
        if attempts > 1 {
            self.message += &format!(" ({attempts} attempts)");
        }
        self
    }
}

/// The seconds of a `Retry-After`; its other form, a date, is passed over.
fn retry_after<T>(response: &Response<T>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How much of a text was read by a model that reads at most `most` tokens. Some servers count
/// before they cut a text, others after.
fn reading(tokens: Option<u32>, most: u32) -> Reading {
    match tokens {
        Some(tokens) if tokens < most => Reading {
            tokens,
            tokens_read: tokens,
            tokens_unknown: 0,
        },
        tokens => Reading {
            tokens: tokens.unwrap_or(0).max(most.saturating_add(1)),
            tokens_read: most,
            tokens_unknown: 0,
        },
    }
}

impl Embedder for OpenAi {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embeddings = self.read(texts)?.into_iter();
        Ok(embeddings.map(|embedding| embedding.vector).collect())
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let mut embeddings = Vec::with_capacity(texts.len());
        let most = self.max_tokens.unwrap_or(u32::MAX);
        let may_be_cut = |text: &str| text.len() + FRAME >= most as usize;
        for group in texts.chunk_by(|a, b| !may_be_cut(a) && !may_be_cut(b)) {
            for batch in group.chunks(self.batch) {
                let Answer { vectors, tokens } = self.request(batch)?;
                let reading = may_be_cut(batch[0]).then(|| reading(tokens, most));
                embeddings.extend(
                    vectors
                        .into_iter()
                        .map(|vector| Embedding { vector, reading }),
                );
            }
        }
        Ok(embeddings)
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("url", &self.shown)
            .field("model", &self.model)
            .field("dim", &self.dim)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenAiBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiBuilder")
            .field("model", &self.model)
            .field("dim", &self.dim)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
