//! The cache that the global options name.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mneme::embedder::Embedder;
use mneme::store::{Access, Store};
use mneme::{Builder, Coordination, Error, SemanticCache};

use crate::args::Global;
use crate::embedder_spec::{EmbedderSpec, Texts, guard};
use crate::output::Output;
use crate::store_url::StoreUrl;
use crate::watched::Watched;

/// An open cache with its embedder.
pub struct Session {
    pub cache: SemanticCache,
    pub embedder: Arc<Watched>,
}

impl Session {
    /// Opens the cache that the options name. If there is none, it is created when something is first
    /// stored, so a command that fails leaves none behind. Other processes may use the same store at
    /// the same time.
    pub fn open(global: &Global) -> Result<Self> {
        Self::open_for(global, Access::CreateOnWrite, Texts::Perhaps)
    }

    /// The same, for a command that embeds in any case.
    pub fn open_to_embed(global: &Global, texts: Texts) -> Result<Self> {
        Self::open_for(global, Access::CreateOnWrite, texts)
    }

    /// Opens the cache that the options name, for a command that stores nothing new: it fails if
    /// there is no cache.
    pub fn existing(global: &Global) -> Result<Self> {
        Self::open_for(global, Access::Existing, Texts::Perhaps)
    }

    fn open_for(global: &Global, access: Access, texts: Texts) -> Result<Self> {
        global.verifying.refuse_later("this command")?;
        let store = StoreUrl::choose(global.store.as_deref());
        let embedder = EmbedderSpec::choose(global.embedder.as_deref())?;
        Self::on(
            store.store_for(access)?,
            embedder.embedder(global.embed_timeout(), texts)?,
            global.embed_timeout(),
            |builder| global.apply(builder),
        )
    }

    /// Opens the cache with other options than the defaults, for many texts.
    pub fn with(
        store: &StoreUrl,
        embedder: &EmbedderSpec,
        timeout: Duration,
        options: impl FnOnce(Builder) -> Result<Builder>,
    ) -> Result<Self> {
        let embedder = embedder.embedder(timeout, Texts::Many)?;
        Self::on(store.store()?, embedder, timeout, options)
    }

    fn on(
        store: Box<dyn Store>,
        embedder: Box<dyn Embedder>,
        timeout: Duration,
        options: impl FnOnce(Builder) -> Result<Builder>,
    ) -> Result<Self> {
        let embedder = Arc::new(Watched::new(embedder));
        let builder = SemanticCache::builder()
            .boxed_store(store)
            .embedder(Arc::clone(&embedder))
            .embed_timeout(guard(timeout))
            .coordination(Coordination::StaleTolerant(0));
        let cache = options(builder)?.open()?;
        Ok(Self { cache, embedder })
    }
}

impl Session {
    /// Closes the cache when there is an answer, which does not depend on what is still to be
    /// written: access times and counters.
    pub fn close_after_answer(&self, out: Output) {
        if let Err(error) = self.cache.close() {
            out.warn(&format!("access times and counters are not kept: {error}"));
        }
    }
}

/// Whether the request is at fault, so other requests may succeed.
pub fn blames_the_request(error: &Error) -> bool {
    match error {
        Error::InvalidArgument(_)
        | Error::EmbedderDimension { .. }
        | Error::QuotaExceeded(_)
        | Error::Quantization(_) => true,
        Error::Embedder(error) => !error.retryable,
        _ => false,
    }
}
