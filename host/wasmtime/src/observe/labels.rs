//! Which namespaces have a separate label.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The default for the most namespaces with separate metrics.
pub const DEFAULT_MAX_NAMESPACES: usize = 100;

/// The namespaces that were seen first, up to a limit. All others share the empty label, as
/// no namespace has an empty name.
pub(super) struct Namespaces {
    limit: usize,
    known: Mutex<BTreeSet<String>>,
}

impl Namespaces {
    pub fn new(limit: usize) -> Self {
        Namespaces {
            limit,
            known: Mutex::default(),
        }
    }

    /// The label of a namespace.
    pub fn label<'a>(&self, namespace: &'a str) -> &'a str {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(namespace) {
            return namespace;
        }
        if known.len() < self.limit {
            known.insert(namespace.to_owned());
            return namespace;
        }
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_keep_their_names() {
        let namespaces = Namespaces::new(2);
        let labels: Vec<&str> = ["a", "b", "c", "a", "d"]
            .map(|n| namespaces.label(n))
            .into();
        assert_eq!(labels, ["a", "b", "", "a", ""]);
        assert_eq!(Namespaces::new(0).label("a"), "");
    }
}
