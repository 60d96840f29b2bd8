//! Compiling a component.

use crate::limits::TICK;
use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Engine, Result};

/// The address space of an instance: whatever a 32-bit memory can address, so that few accesses need a check,
/// and pages before and after it that nobody may touch. These are wasmtime's defaults.
const MEMORY: u64 = 4 << 30;
const GUARD: u64 = 32 << 20;

/// The bytes of address space that an instance needs. Only what its memory holds takes memory.
pub(crate) const ADDRESS_SPACE: u64 = GUARD + MEMORY + GUARD;

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
    #[cfg(target_pointer_width = "64")]
    config.memory_reservation(MEMORY).memory_guard_size(GUARD);
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
