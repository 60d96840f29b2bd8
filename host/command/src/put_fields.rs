//! An answer to store, in the lines of `import` and the bodies of `serve`.

use mneme::{PutRequest, Ttl};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A lifetime in seconds. Absent: the cache's default; null: unlimited.
pub type TtlField = Option<Option<u64>>;

/// Tells a field that is null from one that is absent, which is the default.
pub fn present<'de, D: Deserializer<'de>>(from: D) -> Result<TtlField, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The request to store it.
pub fn request(
    query: &str,
    response: &str,
    namespace: &str,
    ttl: TtlField,
    metadata: Option<&Map<String, Value>>,
    embedding: Option<&Vec<f32>>,
) -> PutRequest {
    let mut request = PutRequest::new(query, response)
        .namespace(namespace)
        .ttl(match ttl {
            None => Ttl::Inherit,
            Some(None) => Ttl::Unlimited,
            Some(Some(seconds)) => Ttl::Seconds(seconds),
        });
    if let Some(metadata) = metadata {
        request = request.metadata(Value::from(metadata.clone()).to_string());
    }
    match embedding {
        Some(embedding) => request.embedding(embedding.clone()),
        None => request,
    }
}
