//! Walks over pages of namespaces.

use crate::{Result, Store, StoreError};

/// Namespaces that one call asks for.
const PER_PAGE: u32 = 1 << 16;

/// Every namespace that holds entries, with the number of its entries, sorted by the bytes of the
/// namespace: all pages of [`Store::count_by_namespace`]. Of up to 65,535 namespaces it is one call.
///
/// # Errors
///
/// What the store returns; [`StoreError::Corrupt`] if its pages do not ascend.
pub fn count_all_namespaces(store: &mut dyn Store) -> Result<Vec<(String, u64)>> {
    let mut all: Vec<(String, u64)> = Vec::new();
    loop {
        let after = all.last().map(|(name, _)| name.as_str());
        let page = store.count_by_namespace(after, PER_PAGE)?;
        let is_last = page.len() < PER_PAGE as usize;
        for one in page {
            if let Some((last, _)) = all.last().filter(|(last, _)| *last >= one.0) {
                return Err(StoreError::Corrupt(format!(
                    "the store returned the namespace {:.80?} after {last:.80?}, and namespaces ascend by their bytes; check its integrity",
                    one.0
                )));
            }
            all.push(one);
        }
        if is_last {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::{CapabilitySet, for_each_operation};
    use std::collections::BTreeMap;

    /// A store with so many namespaces, whose pages end with the namespace before.
    struct Many(MemoryStore, u64, u64);

    macro_rules! many {
        ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
            $(many! { $name($($arg: ($($type)*)),*) -> ($($result)*) })*
        };
        (count_by_namespace($after:ident: $after_type:tt, $limit:ident: $limit_type:tt) -> $result:tt) => {
            fn count_by_namespace(
                &mut self,
                after: Option<&str>,
                limit: u32,
            ) -> Result<Vec<(String, u64)>> {
                let from = after.map_or(0, |name| name.parse::<u64>().unwrap() + 1 - self.2);
                let names = (from..self.1).take(limit as usize);
                Ok(names.map(|n| (format!("{n:06}"), n)).collect())
            }
        };
        ($name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*)) => {
            fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
                self.0.$name($($arg),*)
            }
        };
    }

    impl Store for Many {
        fn capabilities(&self) -> CapabilitySet {
            self.0.capabilities()
        }

        for_each_operation!(many![]);
    }

    #[test]
    fn all_pages_are_read_and_no_page_twice() {
        for count in [0, 1, 65_535, 65_536, 65_537, 140_000] {
            let mut store = Many(MemoryStore::new(), count, 0);
            let all = count_all_namespaces(&mut store).unwrap();
            let unique: BTreeMap<_, _> = all.iter().cloned().collect();
            assert_eq!((all.len(), unique.len()), (count as usize, count as usize));
        }
        let repeated = count_all_namespaces(&mut Many(MemoryStore::new(), 65_537, 1));
        let Err(StoreError::Corrupt(message)) = repeated else {
            panic!("the last name of the first page comes twice");
        };
        assert!(message.contains("\"065535\" after \"065535\""), "{message}");
    }
}
