//! Compiling a component.

use crate::limits::TICK;
use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Engine, Result};

/// The user's folder for compiled code, if there is one.
pub fn code_cache() -> Option<Cache> {
    Cache::new(CacheConfig::new()).ok()
}

/// Compiles a component for a new engine, whose clock ticks as long as it lives.
///
/// # Errors
///
/// If the bytes are not a component, or this machine cannot run it.
pub fn compile(bytes: &[u8], cache: Option<Cache>) -> Result<(Engine, Component)> {
    let mut config = Config::new();
    config.epoch_interruption(true).cache(cache);
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, bytes)?;
    let ticking = engine.weak();
    std::thread::Builder::new()
        .name("mneme-epoch".into())
        .spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
    Ok((engine, component))
}
