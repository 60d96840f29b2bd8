//! Random numbers for `instant-distance`, in a component without a source of them.
//!
//! Its `Builder` draws a default seed from the `rand` crate's generator before it gets another
//! one. So a generator whose seed is always the same is harmless.
//!
//! Every crate in the component that uses getrandom 0.2 gets these numbers. No other crate may
//! need random ones.

/// Bytes that stand in for random ones.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
fn fixed(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    bytes.fill(0x5a);
    Ok(())
}

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
getrandom::register_custom_getrandom!(fixed);
