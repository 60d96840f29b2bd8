//! The changes that `load` makes to the entries and quotas of an archive.

use super::state::{State, rename_counters};
use super::{STATE, refused};
use crate::error::{Result, invalid};
use crate::options::{MAX_NAME_BYTES, check_namespace};
use crate::types::{Entry, LoadOptions, TtlOverride};
use crate::{counters, range};
use std::collections::{BTreeMap, BTreeSet};

/// The changes that the options of `load` ask for.
pub struct Overrides {
    namespaces: Option<BTreeSet<String>>,
    prefix: String,
    ttl: TtlOverride,
    quotas: Option<BTreeMap<String, u64>>,
}

impl Overrides {
    /// The overrides of these options, if they are in range.
    pub fn new(options: &LoadOptions) -> Result<Self> {
        if !options.namespace_prefix.is_empty() {
            check_namespace(&options.namespace_prefix)?;
        }
        if let TtlOverride::Seconds(ttl) | TtlOverride::AtMost(ttl) = options.ttl {
            range::check("option ttl", ttl)?;
        }
        let mut quotas = BTreeMap::new();
        for (namespace, quota) in options.quotas.iter().flatten() {
            check_namespace(namespace)?;
            range::check(&format!("option quotas: the one of {namespace:?}"), *quota)?;
            if quotas.insert(namespace.clone(), *quota).is_some() {
                return Err(invalid(format!(
                    "option quotas: the namespace {namespace:?} comes twice"
                )));
            }
        }
        crate::quotas::check(&mut quotas.keys())
            .map_err(|reason| invalid(format!("option quotas: {reason}")))?;
        Ok(Overrides {
            namespaces: options
                .namespaces
                .as_ref()
                .map(|names| names.iter().cloned().collect()),
            prefix: options.namespace_prefix.clone(),
            ttl: options.ttl,
            quotas: options.quotas.is_some().then_some(quotas),
        })
    }

    /// Whether everything stays as it is in the archive.
    pub fn change_nothing(&self) -> bool {
        self.keep_names() && self.ttl == TtlOverride::Keep && self.quotas.is_none()
    }

    /// Whether all namespaces are loaded, under their own names.
    fn keep_names(&self) -> bool {
        self.namespaces.is_none() && self.prefix.is_empty()
    }

    /// The name of a namespace in the cache, if it is loaded.
    fn rename(&self, namespace: &str) -> Option<String> {
        let taken = self
            .namespaces
            .as_ref()
            .is_none_or(|names| names.contains(namespace));
        taken.then(|| match namespace {
            // No namespace, but the counts of many.
            counters::OTHERS => counters::OTHERS.to_owned(),
            _ => format!("{}{namespace}", self.prefix),
        })
    }

    /// The entry to store, if it is loaded.
    pub fn entry(&self, mut entry: Entry) -> Result<Option<Entry>> {
        if !self.keep_names() {
            let Some(namespace) = self.rename(&entry.namespace) else {
                return Ok(None);
            };
            if namespace.len() > MAX_NAME_BYTES {
                return Err(invalid(format!(
                    "option namespace-prefix makes the name of namespace {:?} {} bytes long; at most {MAX_NAME_BYTES} are allowed; nothing was loaded",
                    entry.namespace,
                    namespace.len()
                )));
            }
            entry.namespace = namespace;
        }
        entry.ttl = match self.ttl {
            TtlOverride::Keep => entry.ttl,
            TtlOverride::Unlimited => None,
            TtlOverride::Seconds(ttl) => Some(ttl),
            TtlOverride::AtMost(most) => Some(entry.ttl.map_or(most, |ttl| ttl.min(most))),
        };
        Ok(Some(entry))
    }

    /// The quotas and meta to set.
    pub fn state(&self, archived: State) -> Result<State> {
        let quotas = match &self.quotas {
            Some(quotas) => quotas.clone(),
            None => archived
                .quotas
                .into_iter()
                .filter_map(|(namespace, quota)| Some((self.rename(&namespace)?, quota)))
                .collect(),
        };
        let mut meta = archived.meta;
        if !self.keep_names() {
            meta.retain(|key, _| key == counters::META_KEY);
            for text in meta.values_mut() {
                *text = rename_counters(text, |namespace| self.rename(namespace))
                    .map_err(|error| refused(STATE, error))?;
            }
        }
        Ok(State { quotas, meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::default_load_options;
    use crate::testing::entry;

    fn overrides(change: impl FnOnce(&mut LoadOptions)) -> Result<Overrides> {
        let mut options = default_load_options();
        change(&mut options);
        Overrides::new(&options)
    }

    fn state() -> State {
        State {
            quotas: [("a".into(), 1), ("b".into(), 2)].into(),
            meta: [
                ("counters".into(), r#"{"a:misses":1,"b:misses":2}"#.into()),
                ("mine".into(), "x".into()),
            ]
            .into(),
        }
    }

    #[test]
    fn the_defaults_change_nothing() {
        let keep = overrides(|_| {}).unwrap();
        assert!(keep.change_nothing());
        assert_eq!(keep.state(state()).unwrap(), state());
        let mut with_ttl = entry("a", "q", &[1.0], 5);
        with_ttl.ttl = Some(9);
        assert_eq!(keep.entry(with_ttl.clone()).unwrap(), Some(with_ttl));
    }

    #[test]
    fn namespaces_are_chosen_and_renamed_with_what_belongs_to_them() {
        let some = overrides(|o| {
            o.namespaces = Some(vec!["b".into()]);
            o.namespace_prefix = "eu/".into();
        })
        .unwrap();
        assert!(!some.change_nothing());
        assert_eq!(some.entry(entry("a", "q", &[1.0], 5)).unwrap(), None);
        let taken = some.entry(entry("b", "q", &[1.0], 5)).unwrap().unwrap();
        assert_eq!(taken.namespace, "eu/b");
        let state = some.state(state()).unwrap();
        assert_eq!(state.quotas, [("eu/b".to_owned(), 2)].into());
        assert_eq!(
            state.meta,
            [("counters".to_owned(), r#"{"eu/b:misses":2}"#.to_owned())].into()
        );
        let long = overrides(|o| o.namespace_prefix = "x".repeat(1024)).unwrap();
        assert!(long.entry(entry("a", "q", &[1.0], 5)).is_err());
    }

    #[test]
    fn ttls_and_quotas_are_replaced() {
        for (given, ttl, expected) in [
            (TtlOverride::Unlimited, Some(5), None),
            (TtlOverride::Seconds(7), None, Some(7)),
            (TtlOverride::Seconds(7), Some(5), Some(7)),
            (TtlOverride::AtMost(7), Some(5), Some(5)),
            (TtlOverride::AtMost(7), Some(9), Some(7)),
            (TtlOverride::AtMost(7), None, Some(7)),
        ] {
            let overrides = overrides(|o| o.ttl = given).unwrap();
            assert!(!overrides.change_nothing());
            let mut entry = entry("a", "q", &[1.0], 5);
            entry.ttl = ttl;
            assert_eq!(overrides.entry(entry).unwrap().unwrap().ttl, expected);
        }
        let none = overrides(|o| o.quotas = Some(Vec::new())).unwrap();
        assert!(none.state(state()).unwrap().quotas.is_empty());
        let own = overrides(|o| o.quotas = Some(vec![("z".into(), 9)])).unwrap();
        assert_eq!(
            own.state(state()).unwrap().quotas,
            [("z".to_owned(), 9)].into()
        );
    }

    #[test]
    fn bad_options_are_refused() {
        let broken: [fn(&mut LoadOptions); 5] = [
            |o| o.namespace_prefix = "a\0".into(),
            |o| o.namespace_prefix = "x".repeat(1025),
            |o| o.ttl = TtlOverride::AtMost(u64::MAX),
            |o| o.quotas = Some(vec![(String::new(), 1)]),
            |o| o.quotas = Some(vec![("a".into(), 1), ("a".into(), 1)]),
        ];
        for (i, break_it) in broken.into_iter().enumerate() {
            assert!(overrides(break_it).is_err(), "case {i}");
        }
    }
}
