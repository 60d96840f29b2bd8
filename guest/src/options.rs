//! Defaults and limits.

mod json;

use crate::error::{Result, invalid};
use crate::judge::Kinds;
use crate::types::{
    ConfidenceRule, Coordination, Decay, GraphOptions, IndexKeeping, IndexKind, Options,
    ValidatorRule, VectorDtype, Verifying, VetoKind,
};
use crate::{quotas, range};
use std::collections::BTreeSet;

/// The most values an embedding may have. The integer sums of the index rely on it.
pub const MAX_DIM: u32 = 8192;
/// The most candidates of a graph's search.
pub const MAX_EF: u32 = 10_000;
/// The most bytes of a namespace, a context or a fingerprint.
pub const MAX_NAME_BYTES: usize = 1024;
/// The most tags of an entry or a request.
const MAX_TAGS: usize = 32;
/// The most bytes of a tag.
const MAX_TAG_BYTES: usize = 128;
/// The most bytes of all tags of an entry.
pub const MAX_TAGS_BYTES: usize = MAX_TAGS * MAX_TAG_BYTES;

/// The default options for an embedder.
pub fn defaults(embedder_fingerprint: &str, embedder_dim: u32) -> Options {
    Options {
        embedder_fingerprint: embedder_fingerprint.into(),
        embedder_dim,
        similarity_threshold: 0.85,
        default_ttl: None,
        max_entries: None,
        max_bytes: None,
        namespace_quotas: Vec::new(),
        confidence: ConfidenceRule::Decay(Decay {
            half_life_seconds: 86_400,
            cut_off: 0.0,
        }),
        validator: ValidatorRule::Builtin,
        vetoes: Kinds::DEFAULT.list(),
        verifying: None,
        error_bound: None,
        seed: Vec::new(),
        allow_unreadable: false,
        events: false,
        vector_dtype: VectorDtype::Float32,
        index: IndexKind::Auto,
        graph: GraphOptions {
            ef_search: 100,
            ef_construction: 100,
            heuristic: false,
        },
        persist_index: IndexKeeping::Write,
        coordination: Coordination::Single,
        normalize: true,
        max_query_bytes: 32 << 10,
        max_response_bytes: 4 << 20,
        max_metadata_bytes: 64 << 10,
        touch_limit: 128,
        touch_interval_ms: 5_000,
    }
}

/// Refuses options that are out of range.
pub fn check(options: &Options) -> Result<()> {
    check_embedder(&options.embedder_fingerprint, options.embedder_dim)?;
    check_threshold(options.similarity_threshold)?;
    let GraphOptions {
        ef_search,
        ef_construction,
        ..
    } = options.graph;
    for (name, ef) in [
        ("ef-search", ef_search),
        ("ef-construction", ef_construction),
    ] {
        if !(1..=MAX_EF).contains(&ef) {
            return Err(invalid(format!(
                "option graph: {name} is {ef}; it must be 1 to {MAX_EF}"
            )));
        }
    }
    check_vetoes(&options.vetoes)?;
    if let Some(bound) = &options.error_bound {
        bound.check()?;
    }
    if !options.seed.is_empty() && !(16..=64).contains(&options.seed.len()) {
        return Err(invalid(format!(
            "option seed has {} bytes; give 16 to 64 random ones, or none",
            options.seed.len()
        )));
    }
    if let Some(Verifying {
        band: Some(band), ..
    }) = options.verifying
        && !(-1.0..=1.0).contains(&band)
    {
        return Err(invalid(format!(
            "option verifying: the band begins at {band}; a cosine lies within -1 to 1"
        )));
    }
    check_max_entries(options.max_entries)?;
    check_cap("max-bytes", options.max_bytes)?;
    check_ttl(options.default_ttl)?;
    for (namespace, quota) in &options.namespace_quotas {
        check_namespace(namespace)?;
        check_quota(Some(*quota))?;
    }
    quotas::check(&mut options.namespace_quotas.iter().map(|(name, _)| name))
        .map_err(|reason| invalid(format!("option namespace-quotas: {reason}")))?;
    let cut_off = match &options.confidence {
        ConfidenceRule::Decay(decay) => {
            if decay.half_life_seconds == 0 {
                return Err(invalid(
                    "option confidence: half-life-seconds must be at least 1",
                ));
            }
            range::check(
                "option confidence: half-life-seconds",
                decay.half_life_seconds,
            )?;
            decay.cut_off
        }
        ConfidenceRule::Host(cut_off) => *cut_off,
    };
    if !(0.0..=1.0).contains(&cut_off) {
        return Err(invalid(format!(
            "option confidence: the cut-off is {cut_off}; it must be 0 to 1"
        )));
    }
    Ok(())
}

/// Refuses an embedder that no cache can have.
pub fn check_embedder(fingerprint: &str, dim: u32) -> Result<()> {
    if fingerprint.is_empty() || fingerprint.len() > MAX_NAME_BYTES || fingerprint.contains('\0') {
        return Err(invalid(format!(
            "the embedder's fingerprint has {} bytes; it needs 1 to {MAX_NAME_BYTES}, without U+0000",
            fingerprint.len()
        )));
    }
    if dim == 0 || dim > MAX_DIM {
        return Err(invalid(format!(
            "the embedder's dim is {dim}; it must be 1 to {MAX_DIM}"
        )));
    }
    Ok(())
}

/// Refuses a cap of the number of entries that is 0 or out of range.
pub fn check_max_entries(max_entries: Option<u64>) -> Result<()> {
    check_cap("max-entries", max_entries)
}

fn check_cap(option: &str, cap: Option<u64>) -> Result<()> {
    match cap {
        Some(0) => Err(invalid(format!(
            "option {option} is 0; it must be at least 1, or none"
        ))),
        Some(cap) => range::check(&format!("option {option}"), cap),
        None => Ok(()),
    }
}

/// Refuses a quota out of range.
pub fn check_quota(quota: Option<u64>) -> Result<()> {
    quota.map_or(Ok(()), |quota| range::check("the quota", quota))
}

/// Refuses a lifetime out of range.
pub fn check_ttl(ttl: Option<u64>) -> Result<()> {
    ttl.map_or(Ok(()), |ttl| range::check("the TTL in seconds", ttl))
}

/// Refuses thresholds outside the range of cosines.
pub fn check_threshold(threshold: f32) -> Result<()> {
    if (-1.0..=1.0).contains(&threshold) {
        Ok(())
    } else {
        Err(invalid(format!(
            "the similarity threshold is {threshold}; a cosine lies within -1 to 1"
        )))
    }
}

/// Refuses a list of kinds of vetoes that names one twice.
pub fn check_vetoes(kinds: &[VetoKind]) -> Result<Kinds> {
    let mut set = Kinds::NONE;
    for kind in kinds {
        if set.has(*kind) {
            return Err(invalid(format!(
                "the veto {} comes twice; give it once",
                kind.name()
            )));
        }
        set = set.with(*kind);
    }
    Ok(set)
}

/// Refuses names that are not valid for a namespace.
pub fn check_namespace(namespace: &str) -> Result<()> {
    if namespace.is_empty() {
        return Err(invalid(
            "the namespace is empty; give it a name, such as \"default\"",
        ));
    }
    if namespace.len() > MAX_NAME_BYTES {
        return Err(invalid(format!(
            "the namespace has {} bytes; at most {MAX_NAME_BYTES} are allowed",
            namespace.len()
        )));
    }
    if namespace.contains('\0') {
        return Err(invalid(
            "the namespace contains the character U+0000; leave it out",
        ));
    }
    Ok(())
}

/// Refuses contexts that are not valid.
pub fn check_context(context: &str) -> Result<()> {
    if context.len() > MAX_NAME_BYTES {
        return Err(invalid(format!(
            "the context has {} bytes; at most {MAX_NAME_BYTES} are allowed, so give a hash of it, such as SHA-256 in hexadecimal digits",
            context.len()
        )));
    }
    if context.contains('\0') {
        return Err(invalid(
            "the context contains the character U+0000; leave it out",
        ));
    }
    Ok(())
}

/// Refuses lists of tags that are not valid.
pub fn check_tags(tags: &[String]) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(invalid(format!(
            "there are {} tags; at most {MAX_TAGS} are allowed",
            tags.len()
        )));
    }
    let mut seen = BTreeSet::new();
    for tag in tags {
        if tag.is_empty() {
            return Err(invalid("a tag is empty; leave it out"));
        }
        if tag.len() > MAX_TAG_BYTES {
            return Err(invalid(format!(
                "the tag {:?} has {} bytes; at most {MAX_TAG_BYTES} are allowed",
                tag.chars().take(40).collect::<String>(),
                tag.len()
            )));
        }
        if tag.contains('\0') {
            return Err(invalid(format!(
                "the tag {tag:?} contains the character U+0000; leave it out"
            )));
        }
        if !seen.insert(tag) {
            return Err(invalid(format!(
                "the tag {tag:?} comes twice; give it once"
            )));
        }
    }
    Ok(())
}

/// Refuses a text that is longer than its limit.
pub fn check_size(what: &str, text: &str, limit: u32) -> Result<()> {
    if text.len() > limit as usize {
        return Err(invalid(format!(
            "the {what} has {} bytes; at most {limit} are allowed (option max-{what}-bytes)",
            text.len()
        )));
    }
    Ok(())
}

/// Refuses metadata that is not one JSON object.
pub fn check_metadata(metadata: &str) -> Result<()> {
    if metadata == "{}" {
        return Ok(());
    }
    match serde_json::from_str(metadata) {
        Ok(json::Kind::Object) => Ok(()),
        Ok(other) => Err(invalid(format!(
            "the metadata is JSON, but {} instead of an object",
            other.name()
        ))),
        Err(error) => Err(invalid(format!(
            "the metadata is not a JSON object: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass() {
        assert!(check(&defaults("f", 384)).is_ok());
    }

    #[test]
    fn out_of_range_options_are_refused() {
        let broken: [fn(&mut Options); 15] = [
            |o| o.embedder_fingerprint.clear(),
            |o| o.embedder_fingerprint = "x".repeat(1025),
            |o| o.embedder_dim = 0,
            |o| o.embedder_dim = 8193,
            |o| o.similarity_threshold = f32::NAN,
            |o| o.similarity_threshold = 1.01,
            |o| o.max_entries = Some(0),
            |o| o.confidence = ConfidenceRule::Host(-0.1),
            |o| o.namespace_quotas = vec![("a\0b".into(), 1)],
            |o| o.namespace_quotas = vec![("a".into(), 1 << 53)],
            |o| o.max_entries = Some(1 << 53),
            |o| o.max_bytes = Some(0),
            |o| o.max_bytes = Some(1 << 53),
            |o| o.default_ttl = Some(1 << 53),
            |o| {
                o.confidence = ConfidenceRule::Decay(Decay {
                    half_life_seconds: 1 << 53,
                    cut_off: 0.5,
                });
            },
        ];
        for (i, break_it) in broken.iter().enumerate() {
            let mut options = defaults("f", 4);
            break_it(&mut options);
            assert!(check(&options).is_err(), "case {i}");
        }
    }

    #[test]
    fn metadata_is_one_object() {
        assert!(check_metadata(r#" {"a": [1, {"b": null}]} "#).is_ok());
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "{} {}",
            "{\"a\": NaN}",
            "null",
            "\"{}\"",
        ] {
            assert!(check_metadata(bad).is_err(), "{bad}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
        assert!(check_metadata(&deep).is_err());
    }
}
