//! What the command prints under `--json` and `serve` answers: the same types, which the OpenAPI
//! document describes.

mod archive;
mod bound;
mod explanation;
mod listing;
mod lookup;
mod report;

pub use archive::{Loaded, Manifest, layout_name};
pub use bound::Bound;
pub use explanation::{Explanation, Veto};
pub use listing::{EntryPage, Receipt};
pub use lookup::{Hit, Lookup, Miss};
pub use report::{Health, Stats};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::output;

/// A value of one of these types.
pub fn value(of: &impl Serialize) -> Value {
    // Only keys that are not text can fail, and these types have none.
    serde_json::to_value(of).unwrap_or_default()
}

/// A number with the digits of the f32, not of the nearest f64.
pub fn digits<S: Serializer>(value: &f32, to: S) -> Result<S::Ok, S::Error> {
    output::number(*value).serialize(to)
}

/// As [`digits`], if there is a number.
pub fn optional_digits<S: Serializer>(value: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
    value.map(output::number).serialize(to)
}

/// Metadata: a JSON object as text.
fn metadata(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let hit = Lookup::from(&mneme::Lookup::Hit(mneme::Hit {
            context: String::new(),
            tags: Vec::new(),
            response: "r".into(),
            metadata: "{\"a\": 1}".into(),
            namespace: "n".into(),
            layer: mneme::Layer::Semantic,
            similarity: 0.85,
            confidence: 0.1,
            age_seconds: 1,
            created_at: 2,
            ttl_left: None,
            query: "q".into(),
            id: 7,
            ticket: None,
        }));
        let value = value(&hit);
        assert_eq!(value["similarity"].to_string(), "0.85");
        assert_eq!(value["metadata"]["a"], 1);
        assert_eq!(value["hit"], true);
    }
}
