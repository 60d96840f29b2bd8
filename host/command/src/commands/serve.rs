//! `serve`: the cache over HTTP.

mod access;
mod archives;
mod body;
mod description;
mod entries;
mod fault;
mod metrics;
mod reports;
mod request;
mod served;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use mneme::observe::Prometheus;
use mneme::{AsyncSemanticCache, Coordination};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::args::{Global, Serve};
use crate::embedder_spec::EmbedderSpec;
use crate::output::Output;
use crate::session::Session;
use crate::store_url::StoreUrl;

use access::Access;
use metrics::Metrics;
use served::{HealthReports, Served};

/// `serve`
pub fn serve(global: &Global, out: Output, args: &Serve) -> Result<u8> {
    if global.namespace.is_some() {
        bail!("serve: requests name their namespace, in the path or in a header; omit --namespace");
    }
    let access = Access::new(args)?;
    let registry = prometheus::Registry::new();
    let observer = Prometheus::builder()
        .max_namespaces(args.max_namespaces)
        .register(&registry)?;
    let store = StoreUrl::choose(global.store.as_deref());
    let embedder = EmbedderSpec::choose(global.embedder.as_deref())?;
    let session = Session::with(&store, &embedder, |mut builder| {
        builder = global
            .comparing
            .apply(builder)
            .observer(observer)
            .vector_dtype(args.dtype.into())
            .coordination(Coordination::StaleTolerant(args.follow));
        if let Some(threshold) = args.threshold {
            builder = builder.similarity_threshold(threshold);
        }
        if let Some(seconds) = args.ttl {
            builder = builder.default_ttl(seconds);
        }
        match args.max_entries {
            Some(most) => builder.max_entries(most),
            None => builder,
        }
    })?;
    let cache = session.cache;
    let served = Arc::new(Served {
        cache: AsyncSemanticCache::new(cache.clone()),
        access: Arc::new(access),
        metrics: Arc::new(Metrics::new(registry)?),
        health: HealthReports::default(),
        max_body: args.max_body,
        max_archive: args.max_archive,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("serve: cannot start")?;
    let outcome = runtime.block_on(run(args, out, &store, served));
    // Requests that still run hold a handle; the cache is closed between two of their calls.
    let closed = cache.close();
    runtime.shutdown_background();
    outcome?;
    closed?;
    out.note("stopped");
    Ok(0)
}

async fn run(args: &Serve, out: Output, store: &StoreUrl, served: Arc<Served>) -> Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("serve: cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("serve")?;
    let signal = stop_signal().context("serve: cannot wait for signals")?;
    announce(out, address, store)?;
    let (stopping, stop) = oneshot::channel();
    let stopped = async move {
        signal.await;
        // The receiver is gone only if the server is.
        let _ = stopping.send(());
    };
    let server = axum::serve(listener, router(served)).with_graceful_shutdown(stopped);
    let too_long = async {
        match stop.await {
            Ok(()) => tokio::time::sleep(Duration::from_secs(args.grace)).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = server => outcome.context("serve"),
        () = too_long => {
            out.warn("some requests did not end in time and were dropped");
            Ok(())
        }
    }
}

fn announce(out: Output, address: SocketAddr, store: &StoreUrl) -> Result<()> {
    out.result(
        || json!({"listening": format!("http://{address}"), "store": store.to_string()}),
        || format!("listening on http://{address}, with the store {store}"),
    )?;
    Ok(())
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
        .layer(from_fn(body::read_to_end))
        .with_state(served)
}

/// Waits for SIGTERM or SIGINT, which no longer end the process by themselves.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
