//! The numbers of scopes. A scope is a namespace and a context: its entries answer each other's
//! questions.
//!
//! A namespace may have a context for each of its entries, as a proxy has one for each conversation.
//! So a context is known by 128 bits of its SHA-256, whatever its length. Two contexts with the same
//! bits would only share a scan: the cache compares the context of an entry before it answers.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A namespace and a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The name of the namespace.
    pub namespace: &'a str,
    /// The context; may be empty.
    pub context: &'a str,
}

impl<'a> Scope<'a> {
    /// The empty context of a namespace.
    pub fn plain(namespace: &'a str) -> Self {
        Scope {
            namespace,
            context: "",
        }
    }
}

/// Stands for a context; none is the empty one.
pub type Digest = Option<[u8; 16]>;

/// Stands for this context.
pub fn digest(context: &str) -> Digest {
    if context.is_empty() {
        return None;
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(context)[..16]);
    Some(digest)
}

/// The numbers of scopes, counted from 0.
#[derive(Default)]
pub struct Scopes {
    namespaces: BTreeMap<String, BTreeMap<Digest, u32>>,
    len: u32,
    /// Numbers below `len` that no scope has.
    free: Vec<u32>,
}

impl Scopes {
    /// The number of a scope, if it has one.
    pub fn get(&self, scope: Scope) -> Option<u32> {
        let contexts = self.namespaces.get(scope.namespace)?;
        contexts.get(&digest(scope.context)).copied()
    }

    /// The number of the empty context of a namespace, if it has one.
    pub fn plain(&self, namespace: &str) -> Option<u32> {
        self.namespaces.get(namespace)?.get(&None).copied()
    }

    /// The numbers of all contexts of a namespace.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = u32> + use<'_> {
        let contexts = self.namespaces.get(namespace);
        contexts.into_iter().flat_map(BTreeMap::values).copied()
    }

    /// The numbers of the empty contexts of all namespaces.
    pub fn all_plain(&self) -> impl Iterator<Item = u32> + use<'_> {
        let contexts = self.namespaces.values();
        contexts.filter_map(|contexts| contexts.get(&None).copied())
    }

    /// Gives a scope, which must not have a number yet, one that is free, or the next.
    pub fn add(&mut self, namespace: &str, context: Digest) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.len += 1;
            self.len - 1
        });
        match self.namespaces.get_mut(namespace) {
            Some(contexts) => drop(contexts.insert(context, number)),
            None => {
                let contexts = BTreeMap::from([(context, number)]);
                self.namespaces.insert(namespace.into(), contexts);
            }
        }
        number
    }

    /// Takes the numbers from scopes that are not used, and returns these numbers.
    pub fn free(&mut self, is_used: impl Fn(u32) -> bool) -> &[u32] {
        let before = self.free.len();
        self.namespaces.retain(|_, contexts| {
            contexts.retain(|_, number| {
                let used = is_used(*number);
                if !used {
                    self.free.push(*number);
                }
                used
            });
            !contexts.is_empty()
        });
        &self.free[before..]
    }

    /// Whether a scope has a number.
    pub fn has(&self, namespace: &str, context: &Digest) -> bool {
        let contexts = self.namespaces.get(namespace);
        contexts.is_some_and(|contexts| contexts.contains_key(context))
    }

    /// The scope that comes after this one in the order of names, and its number.
    pub fn next(&self, after: Option<&(String, Digest)>) -> Option<(String, Digest, u32)> {
        let same = after.and_then(|(name, context)| {
            let later = (Bound::Excluded(context), Bound::Unbounded);
            let (context, number) = self.namespaces.get(name)?.range(later).next()?;
            Some((name.clone(), *context, *number))
        });
        same.or_else(|| {
            let later = match after {
                Some((name, _)) => (Bound::Excluded(name.as_str()), Bound::Unbounded),
                None => (Bound::Unbounded, Bound::Unbounded),
            };
            let (name, contexts) = self.namespaces.range::<str, _>(later).next()?;
            let (context, number) = contexts.first_key_value()?;
            Some((name.clone(), *context, *number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_told_apart_and_walked_in_order() {
        let mut scopes = Scopes::default();
        let names = [("b", ""), ("a", "x"), ("a", ""), ("b", "y")];
        for (number, (namespace, context)) in names.into_iter().enumerate() {
            let scope = Scope { namespace, context };
            assert_eq!(scopes.get(scope), None);
            assert_eq!(scopes.add(namespace, digest(context)), number as u32);
            assert_eq!(scopes.get(scope), Some(number as u32));
        }
        assert_eq!(scopes.plain("a"), Some(2));
        assert_eq!(scopes.of_namespace("b").collect::<Vec<_>>(), [0, 3]);
        let (mut walked, mut after) = (Vec::new(), None);
        while let Some((name, context, number)) = scopes.next(after.as_ref()) {
            walked.push(number);
            after = Some((name, context));
        }
        assert_eq!(walked, [2, 1, 0, 3]);
        assert_eq!(scopes.all_plain().collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn numbers_that_are_given_back_are_used_again() {
        let mut scopes = Scopes::default();
        for context in ["", "x", "y"] {
            scopes.add("a", digest(context));
        }
        assert_eq!(scopes.free(|number| number == 1), [0, 2]);
        assert_eq!(scopes.plain("a"), None);
        let mut numbers = ["z", "", "w"].map(|context| scopes.add("a", digest(context)));
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 2, 3]);
        assert!(scopes.free(|_| false).len() == 4 && scopes.next(None).is_none());
    }
}
