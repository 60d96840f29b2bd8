//! A lifetime, as the lines of `import` and the bodies of `serve` have it.

use mneme::Ttl;
use serde::{Deserialize, Deserializer};

/// A lifetime in seconds. Absent: the cache's default; null: unlimited.
pub type TtlField = Option<Option<u64>>;

/// Tells a field that is null from one that is absent, which is the default.
pub fn present<'de, D: Deserializer<'de>>(from: D) -> Result<TtlField, D::Error> {
    Option::deserialize(from).map(Some)
}

/// What the field asks for.
pub fn ttl(field: TtlField) -> Ttl {
    match field {
        None => Ttl::Inherit,
        Some(None) => Ttl::Unlimited,
        Some(Some(seconds)) => Ttl::Seconds(seconds),
    }
}
