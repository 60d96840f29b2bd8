//! The components of mneme, built for wasm by this crate's build script, and how wasmtime runs
//! them: compiled once, and held to limits.

mod engine;
mod limits;

pub use engine::{code_cache, compile};
pub use limits::{Guard, Guarded, Limit, Limits, limited, reached, set_deadline};

/// The cache's bytes, for any host that knows `wit/`.
pub fn cache() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/mneme.wasm"))
}

/// The conformance battery's bytes, for any host that knows `wit/suite.wit`.
#[cfg(feature = "conformance")]
pub fn conformance() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/conformance.wasm"))
}
