//! Random numbers for `instant-distance`, in a component that has none.
//!
//! Its `Builder` draws a default seed from the `rand` crate's generator before it is given
//! another. That the generator's own seed is always the same does no harm.
//!
//! This is the source of randomness of every crate in the component that uses getrandom 0.2:
//! none may need more of it.

/// Bytes that stand in for random ones.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
fn fixed(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    bytes.fill(0x5a);
    Ok(())
}

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
getrandom::register_custom_getrandom!(fixed);
