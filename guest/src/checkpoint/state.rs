//! What a cache holds besides its entries: quotas, and meta with the counters.

use super::{MAX_DESCRIPTION_BYTES, STATE, refused};
use crate::error::{Result, describe, invalid};
use crate::types::Error;
use crate::{counters, options, quotas, range};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Meta keys that belong to the store itself.
const STORES_OWN: [&str; 3] = ["schema_version", "embedder_fingerprint", "embedder_dim"];

/// The most quotas, and the most meta values, in `state.json`.
pub const MAX_ROWS: usize = 250_000;

/// The content of `state.json`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The most entries, by namespace.
    #[serde(deserialize_with = "few")]
    pub quotas: BTreeMap<String, u64>,
    /// Values by key, with the counters as the store holds them.
    #[serde(deserialize_with = "few")]
    pub meta: BTreeMap<String, String>,
}

impl State {
    /// The text of `state.json`.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let rows = self.quotas.len().max(self.meta.len());
        if rows > MAX_ROWS {
            return Err(Error::Checkpoint(format!(
                "{STATE} would have {rows} quotas or meta values; at most {MAX_ROWS} are read back"
            )));
        }
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Checkpoint(format!("{STATE} cannot be written: {error}")))?;
        if text.len() as u64 > MAX_DESCRIPTION_BYTES {
            return Err(Error::Checkpoint(format!(
                "{STATE} would have {} bytes, for {} quotas and {} meta values; at most {MAX_DESCRIPTION_BYTES} are read back",
                text.len(),
                self.quotas.len(),
                self.meta.len()
            )));
        }
        Ok(text)
    }

    /// Reads `state.json`.
    pub fn decode(text: &[u8]) -> Result<Self> {
        let state: State = serde_json::from_slice(text).map_err(|error| refused(STATE, error))?;
        state.check(STATE)?;
        Ok(state)
    }

    /// Refuses a state that no cache could have stored. `member` is where it comes from.
    pub fn check(&self, member: &str) -> Result<()> {
        self.sound().map_err(|reason| refused(member, reason))
    }

    /// As [`check`](Self::check), for what the store holds and an archive is to take.
    pub fn check_stored(&self) -> Result<()> {
        check_stored_quotas(&mut self.quotas.keys())?;
        self.sound().map_err(|reason| {
            Error::Corrupt(format!(
                "the store could not be loaded from a checkpoint: {reason}; change it, and dump again"
            ))
        })
    }

    fn sound(&self) -> std::result::Result<(), String> {
        for (namespace, quota) in &self.quotas {
            options::check_namespace(namespace)
                .and_then(|()| range::check("it", *quota))
                .map_err(|error| format!("the quota of {namespace:.40?}: {}", describe(&error)))?;
        }
        quotas::check(&mut self.quotas.keys())?;
        if let Some(key) = STORES_OWN.iter().find(|key| self.meta.contains_key(**key)) {
            return Err(format!("the meta key {key:?} is the store's own"));
        }
        if let Some(text) = self.meta.get(counters::META_KEY) {
            serde_json::from_str::<Counts>(text)
                .map_err(|error| format!("the meta value {:?}: {error}", counters::META_KEY))?;
        }
        Ok(())
    }
}

/// Refuses to dump more quotas than are read back.
pub fn check_stored_quotas(namespaces: &mut dyn Iterator<Item = &String>) -> Result<()> {
    quotas::check(namespaces).map_err(|reason| {
        Error::Checkpoint(format!(
            "the cache cannot be dumped: {reason}, and dump again"
        ))
    })
}

/// The counters of an archive under the new names of their namespaces. Drops those whose
/// namespace has no new name.
pub fn rename_counters(
    text: &str,
    rename: impl Fn(&str) -> Option<String>,
) -> serde_json::Result<String> {
    let mut renamed = Map::new();
    for (key, count) in counts(text)? {
        if let Some((namespace, name)) = key.rsplit_once(':')
            && let Some(namespace) = rename(namespace)
        {
            renamed.insert(format!("{namespace}:{name}"), count);
        }
    }
    Ok(Value::Object(renamed).to_string())
}

/// The sum of a cache's counters, if it has any, and an archive's.
pub fn add_counters(present: Option<&str>, archived: &str) -> serde_json::Result<String> {
    let Some(present) = present else {
        return Ok(archived.to_owned());
    };
    let mut sum = counts(present)?;
    for (key, more) in counts(archived)? {
        let before = sum.get(&key).and_then(Value::as_u64).unwrap_or(0);
        let value = match more.as_u64() {
            Some(more) => before.saturating_add(more).min(range::MAX).into(),
            None => more,
        };
        sum.insert(key, value);
    }
    Ok(Value::Object(sum).to_string())
}

/// A map of no more members than are read. They take more memory than their text.
fn few<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, V>, D::Error> {
    struct Few<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Few<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(
            self,
            mut members: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut few = BTreeMap::new();
            while let Some((name, value)) = members.next_entry()? {
                few.insert(name, value);
                if few.len() > MAX_ROWS {
                    let error = format!("more than {MAX_ROWS} quotas or meta values");
                    return Err(A::Error::custom(error));
                }
            }
            Ok(few)
        }
    }
    deserializer.deserialize_map(Few(PhantomData))
}

/// Counters whose numbers are in range. Other values belong to other programs, and are kept.
struct Counts;

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Counts)
    }
}

impl<'de> Visitor<'de> for Counts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Self, A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let Value::Number(count) = members.next_value()? else {
                continue;
            };
            let checked = match count.as_u64() {
                Some(whole) => range::check(&format!("{name:.80?}"), whole),
                None => Err(invalid(format!(
                    "{name:.80?} is {count}, which is no count"
                ))),
            };
            checked.map_err(|error| A::Error::custom(describe(&error)))?;
        }
        Ok(self)
    }
}

fn counts(text: &str) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let state = State {
            quotas: [("a".into(), 0), ("\u{1f600}".into(), range::MAX)].into(),
            meta: [
                ("counters".into(), r#"{"a:misses":3}"#.into()),
                ("mine\0".into(), "\u{0} \n".into()),
            ]
            .into(),
        };
        assert_eq!(State::decode(&state.encode().unwrap()).unwrap(), state);
    }

    #[test]
    fn what_no_cache_stores_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"quotas": {}, "meta": {"embedder_dim": "5"}}"#,
            r#"{"quotas": {}, "meta": {"counters": "[]"}}"#,
            r#"{"quotas": {}, "meta": {"counters": 1}}"#,
            r#"{"quotas": {"a": -1}, "meta": {}}"#,
            r#"{"quotas": {"a": 9007199254740992}, "meta": {}}"#,
            r#"{"quotas": {"a\u0000": 1}, "meta": {}}"#,
            r#"{"quotas": {"": 1}, "meta": {}}"#,
            r#"{"quotas": {}, "meta": {"counters": "{\"a:misses\": -1}"}}"#,
            r#"{"quotas": {}, "meta": {"counters": "{\"a:misses\": 0.5}"}}"#,
            r#"{"quotas": {}, "meta": {"counters": "{\"a:misses\": 9007199254740992}"}}"#,
            r#"{"quotas": {}, "meta": {"counters": "{\"a:misses\": 1e300}"}}"#,
            r#"{"quotas": {}, "meta": {}} {}"#,
        ] {
            assert!(
                matches!(State::decode(text.as_bytes()), Err(Error::Checkpoint(m)) if m.contains(STATE)),
                "{text}"
            );
        }
    }

    #[test]
    fn no_more_is_written_than_is_read() {
        let meta = |most: usize| State {
            quotas: BTreeMap::new(),
            meta: (0..most).map(|n| (n.to_string(), "1".into())).collect(),
        };
        let text = meta(MAX_ROWS).encode().unwrap();
        assert_eq!(State::decode(&text).unwrap().meta.len(), MAX_ROWS);
        assert!(meta(MAX_ROWS + 1).encode().is_err());
        let text = serde_json::to_vec(&meta(MAX_ROWS + 1)).unwrap();
        let Err(Error::Checkpoint(error)) = State::decode(&text) else {
            panic!("it was read");
        };
        assert!(error.contains("more than 250000 quotas"), "{error}");
    }

    #[test]
    fn as_many_quotas_as_a_cache_may_have_are_written_and_read() {
        // Short names make the most quotas, and these the longest text for their bytes.
        let short = |most: u64| (0..most).map(|n| (format!("{n:x}"), range::MAX));
        let most = quotas::MAX_BYTES / (64 + 2 + 5);
        let long = |most: u64| (0..most).map(|n| (format!("{n}{}", "\u{1}".repeat(1000)), 1));
        let few = quotas::MAX_BYTES / (64 + 2 + 6004);
        for quotas in [short(most).collect(), long(few).collect()] {
            let state = State {
                quotas,
                ..State::default()
            };
            let text = state.encode().unwrap();
            assert!(State::decode(&text).unwrap() == state);
        }
        let state = State {
            quotas: short(most * 11 / 10).collect(),
            ..State::default()
        };
        assert!(
            matches!(state.check_stored(), Err(Error::Checkpoint(m)) if m.contains("too many quotas"))
        );
        let text = serde_json::to_vec(&state).unwrap();
        assert!(
            matches!(State::decode(&text), Err(Error::Checkpoint(m)) if m.contains("too many quotas"))
        );
    }

    #[test]
    fn counters_are_added_and_renamed() {
        let sum = add_counters(
            Some(r#"{"a:misses":1,"b:misses":2,"x":"kept"}"#),
            r#"{"b:misses":5,"c:d:misses":7}"#,
        );
        assert_eq!(
            sum.unwrap(),
            r#"{"a:misses":1,"b:misses":7,"c:d:misses":7,"x":"kept"}"#
        );
        assert_eq!(add_counters(None, "{}").unwrap(), "{}");
        assert!(add_counters(Some("?"), "{}").is_err());
        let renamed = rename_counters(r#"{"a:misses":1,"c:d:misses":7,"x":1}"#, |namespace| {
            (namespace != "a").then(|| format!("p/{namespace}"))
        });
        assert_eq!(renamed.unwrap(), r#"{"p/c:d:misses":7}"#);
    }
}
