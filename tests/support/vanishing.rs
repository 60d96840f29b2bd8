//! What every shared store does when its data is gone, or another cache's is in its place, while
//! it is open.

use crate::rows::entry;
use mneme::store::{ImportMode, Result, Store, StoreError, Touch};
use std::fmt::Debug;

/// Fails unless the error says that the data is gone.
///
/// # Panics
///
/// Where it does not.
#[track_caller]
pub fn is_gone<T: Debug>(outcome: Result<T>) {
    match outcome {
        Err(StoreError::Corrupt(text)) => {
            let names_its_place = text.contains(" store ") || text.contains(" table ");
            assert!(
                names_its_place && text.contains("the data of this cache is gone"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Fails unless no operation that writes takes what is there for its own.
///
/// # Panics
///
/// Where one does.
pub fn refuses_writes(store: &mut dyn Store) {
    is_gone(store.insert(vec![entry("a", 2)]));
    is_gone(store.read_version_counter());
    is_gone(store.set_namespace_quota("a", Some(1)));
    is_gone(store.set_namespace_quota("a", None));
    is_gone(store.replace_meta("k", None, Some("v")));
    is_gone(store.write_blob("b", vec![1]));
    is_gone(store.delete_blobs(&["b".to_owned()]));
    is_gone(store.begin_import(ImportMode::Merge));
    assert!(!store.integrity_check().unwrap());
}

/// The same of operations that find an entry before they write, or have to.
///
/// # Panics
///
/// Where one does not refuse.
pub fn refuses_changes(store: &mut dyn Store) {
    refuses_writes(store);
    is_gone(store.delete_by_id(1));
    is_gone(store.clear_namespace(None));
    is_gone(store.update_access(&[Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 5,
    }]));
}
