//! `serve`: the cache over HTTP.

mod access;
mod activity;
mod archives;
mod body;
mod connections;
mod description;
mod entries;
mod fault;
mod foreign;
mod health;
mod lanes;
mod listing;
mod metrics;
mod places;
mod reports;
mod request;
mod served;
mod shared;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use axum::middleware::from_fn_with_state;
use mneme::embedder::Embedder;
use mneme::observe::Prometheus;
use mneme::{AsyncSemanticCache, Coordination, Health, SemanticCache};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::args::{Global, Serve};
use crate::embedder_spec::{EmbedderSpec, Texts, guard};
use crate::output::Output;
use crate::store_url::StoreUrl;

use access::Access;
use activity::Activity;
use metrics::Metrics;
use served::{Idle, JOBS, Limits, Served, TRANSFERS};
use shared::Shared;

/// The exit code after something was dropped.
const DROPPED: u8 = 1;
/// Threads for files, gauges and checks.
const OTHER_THREADS: usize = 64;
/// The most time of the grace that is kept for writing what waits, and all that is left for it
/// after a second signal.
const CLOSING: Duration = Duration::from_secs(2);

/// `serve`
pub fn serve(global: &Global, out: Output, args: &Serve) -> Result<u8> {
    if global.namespace.is_some() {
        bail!("serve: requests name their namespace, in the path or in a header; omit --namespace");
    }
    let access = Access::new(args)?;
    let idle = Duration::from_secs(args.idle_timeout);
    let body = Duration::from_secs(args.body_timeout);
    let connections = connections::Limits::new(args.max_connections, idle, body)
        .map_err(|message| anyhow!("serve: {message}"))?;
    let store = StoreUrl::choose(global.store.as_deref());
    let registry = prometheus::Registry::new();
    let spec = EmbedderSpec::choose(global.embedder.as_deref())?;
    spec.warn_of_cuts(out);
    let embedder = spec.embedder(global.embed_timeout(), Texts::Many)?;
    let named = (embedder.fingerprint().to_owned(), embedder.dim());
    let lanes = args
        .lanes
        .unwrap_or_else(|| lanes::choose(&store, global.comparing.index, (&named.0, named.1)));
    let cache = open(global, args, &store, embedder, &registry, lanes)?;
    // Such as a cache that can only be read.
    let health = cache.health(false)?;
    for problem in &health.problems {
        out.warn(problem);
    }
    for warning in cache.warnings()? {
        out.warn(&warning);
    }
    let activity = Arc::<Activity>::default();
    let served = Arc::new(Served {
        cache: AsyncSemanticCache::new(cache.clone()),
        store,
        embedder: named,
        access: Arc::new(access),
        metrics: Arc::new(Metrics::new(registry, Arc::clone(&activity), out)?),
        activity,
        limits: Limits::new(args),
        health: Shared::default(),
        gauges: Shared::default(),
        check: Arc::new(Semaphore::new(1)),
        jobs: Arc::new(Semaphore::new(JOBS)),
        transfers: Arc::new(Semaphore::new(TRANSFERS)),
        idle: Idle::default(),
        doubt: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(AsyncSemanticCache::MAX_CALLS + OTHER_THREADS)
        .build()
        .context("serve: cannot start")?;
    let ran = runtime.block_on(run(args, out, connections, &served, health, cache));
    // Threads whose calls hang are left, and end with the process.
    runtime.shutdown_background();
    let is_complete = ran?;
    out.note("stopped");
    Ok(if is_complete { 0 } else { DROPPED })
}

/// The time between two removals of expired entries, zero for none.
fn vacuum_interval(args: &Serve, store: &str) -> Duration {
    let usual = match store {
        // It finds them by reading the whole table.
        "dynamodb" => 0,
        _ => 60,
    };
    Duration::from_secs(args.vacuum_interval.unwrap_or(usual))
}

fn open(
    global: &Global,
    args: &Serve,
    store: &StoreUrl,
    embedder: Box<dyn Embedder>,
    registry: &prometheus::Registry,
    lanes: (u32, u32),
) -> Result<SemanticCache> {
    let observer = Prometheus::builder()
        .max_namespaces(args.max_namespaces)
        .register(registry)?;
    let mut builder = global
        .apply(SemanticCache::builder())?
        .boxed_store(store.store()?)
        .embedder(embedder)
        .embed_timeout(guard(global.embed_timeout()))
        .embed_concurrency(args.max_embeddings.into())
        .observer(observer)
        .vector_dtype(args.dtype.into())
        .coordination(Coordination::StaleTolerant(args.follow));
    if let Some(handles) = store.handles() {
        builder = builder.store_handles(handles);
    }
    let (exact, semantic) = lanes;
    builder = builder.lanes(exact, semantic);
    if let Some(threshold) = args.threshold {
        builder = builder.similarity_threshold(threshold);
    }
    if let Some(seconds) = args.ttl {
        builder = builder.default_ttl(seconds);
    }
    if let Some(most) = args.max_entries {
        builder = builder.max_entries(most);
    }
    if let Some(most) = args.max_bytes {
        builder = builder.max_total_bytes(most);
    }
    Ok(builder.open()?)
}

/// Serves until a signal, then as long as the grace lasts, and closes the cache. Says whether
/// everything that was under way has ended.
async fn run(
    args: &Serve,
    out: Output,
    limits: connections::Limits,
    served: &Arc<Served>,
    Health {
        problems: known,
        store: store_kind,
        ..
    }: Health,
    cache: SemanticCache,
) -> Result<bool> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("serve: cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("serve")?;
    let mut signals = signals().context("serve: cannot wait for signals")?;
    announce(out, address, &served.store);
    let (stop, stopped) = oneshot::channel::<()>();
    let router = router(Arc::clone(served));
    let mut serving = tokio::spawn(connections::serve(listener, router, limits, async {
        // The sender is never dropped without a word.
        let _ = stopped.await;
    }));
    let interval = vacuum_interval(args, &store_kind);
    let upkeep = tokio::spawn(upkeep::run(Arc::clone(served), interval, known, out));
    signals.recv().await;
    upkeep.abort();
    let grace = Duration::from_secs(args.grace);
    let mut deadline = Instant::now() + grace;
    // The receiver ends after this.
    let _ = stop.send(());
    let all_ended = tokio::select! {
        _ = &mut serving => true,
        () = sleep_until(deadline - CLOSING.min(grace / 4)) => false,
        _ = signals.recv() => {
            deadline = deadline.min(Instant::now() + CLOSING);
            false
        }
    };
    if let Some(dropped) = served.activity.list().filter(|_| !all_ended) {
        out.warn(&format!(
            "requests that did not end in time were dropped: {dropped}"
        ));
    }
    serving.abort();
    let is_closed = close(cache, deadline, &mut signals, out).await?;
    Ok(all_ended && is_closed)
}

/// Closes the cache, and says whether that was possible in time. A signal leaves it little time.
async fn close(
    cache: SemanticCache,
    mut deadline: Instant,
    signals: &mut mpsc::Receiver<()>,
    out: Output,
) -> Result<bool> {
    let (done, mut is_done) = oneshot::channel();
    // A thread of the runtime might not be free.
    std::thread::spawn(move || {
        // Nobody waits any more if it took too long.
        let _ = done.send(cache.close());
    });
    loop {
        tokio::select! {
            closed = &mut is_done => {
                closed.context("serve: the cache was not closed")??;
                return Ok(true);
            }
            () = sleep_until(deadline) => {
                out.warn("the store did not end a call in time; access times and counters that waited were dropped, no acknowledged entry was");
                return Ok(false);
            }
            Some(()) = signals.recv() => deadline = deadline.min(Instant::now() + CLOSING),
        }
    }
}

fn announce(out: Output, address: SocketAddr, store: &StoreUrl) {
    let told = out.result(
        || json!({"listening": format!("http://{address}"), "store": store.to_string()}),
        || format!("listening on http://{address}, with the store {store}"),
    );
    if let Err(error) = told {
        out.warn(&format!(
            "listening on http://{address}, which standard output cannot take: {error}"
        ));
    }
}

fn router(served: Arc<Served>) -> Router {
    let (router, description) = description::routes().split_for_parts();
    description::serve(router, description)
        .fallback(fault::not_found)
        .method_not_allowed_fallback(fault::method_not_allowed)
        .layer(from_fn_with_state(
            Arc::clone(&served.access),
            access::check,
        ))
        .layer(from_fn_with_state(
            Arc::clone(&served.metrics),
            metrics::count,
        ))
        .with_state(served)
}

/// Is told of each SIGTERM and SIGINT, which no longer end the process by themselves.
#[cfg(unix)]
fn signals() -> std::io::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(()).await.is_ok() {}
        });
    }
    Ok(receiver)
}

/// Is told of each Ctrl-C.
#[cfg(not(unix))]
fn signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).await.is_ok() {}
    });
    Ok(receiver)
}
