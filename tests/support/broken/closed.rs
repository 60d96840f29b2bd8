//! Faults of closed stores: one operation answers as if it were empty.

use super::{Base, Fault, Known};
use mneme_store::{Restored, Selection, StampPage, StoreError, VectorPage, for_each_operation};

/// The fault of one operation.
macro_rules! answers {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        fn answers(self, operation: &str) -> Self {
            match operation {
                $(stringify!($name) => self.$name(|store $(, $arg)*| match store.$name($($arg),*) {
                    Err(StoreError::Closed) => Ok(Empty::empty()),
                    result => result,
                }),)*
                _ => panic!("no operation is named {operation}"),
            }
        }
    };
}

impl Fault {
    for_each_operation!(answers![]);
}

/// What an operation finds where there is nothing.
trait Empty {
    fn empty() -> Self;
}

macro_rules! empty {
    ($($type:ty: $empty:expr;)*) => {
        $(impl Empty for $type {
            fn empty() -> Self {
                $empty
            }
        })*
    };
}

empty! {
    (): ();
    bool: false;
    u64: 0;
    VectorPage: VectorPage {
        ids: Vec::new(),
        namespaces: Vec::new(),
        contexts: Vec::new(),
        created_at: Vec::new(),
        vectors: Vec::new(),
    };
    Selection: Selection {
        entries: Vec::new(),
        next: None,
    };
    StampPage: StampPage {
        ids: Vec::new(),
        created_at: Vec::new(),
    };
    Restored: Restored {
        entries: 0,
        quotas: Vec::new(),
        meta: Vec::new(),
    };
}

impl<T> Empty for Vec<T> {
    fn empty() -> Self {
        Vec::new()
    }
}

impl<T> Empty for Option<T> {
    fn empty() -> Self {
        None
    }
}

/// The fault of an operation, named as the trait names it.
fn closed(base: Base, operation: &str, caught_by: &'static str) -> Fault {
    let name = format!("{} answers when it is closed", operation.replace('_', "-"));
    Fault::new(base, name)
        .caught_by(caught_by)
        .answers(operation)
}

pub fn faults() -> Vec<Known> {
    let memory = |operation, caught_by| closed(Base::Memory, operation, caught_by);
    let sqlite = |operation, caught_by| closed(Base::Sqlite, operation, caught_by);
    faults![
        memory("get_by_hash", "reads-after-close-are-refused"),
        memory("get_by_ids", "reads-after-close-are-refused"),
        memory("select", "reads-after-close-are-refused"),
        memory("count", "reads-after-close-are-refused"),
        memory("list_namespaces", "reads-after-close-are-refused"),
        memory("count_by_namespace", "reads-after-close-are-refused"),
        memory("iter_lru_ids", "reads-after-close-are-refused"),
        memory("iter_since", "reads-after-close-are-refused"),
        memory("iter_vectors", "reads-after-close-are-refused"),
        memory("iter_stamps", "reads-after-close-are-refused"),
        memory("insert", "writes-after-close-are-refused"),
        memory("update_access", "writes-after-close-are-refused"),
        memory("delete_by_id", "writes-after-close-are-refused"),
        memory("delete_unchanged", "writes-after-close-are-refused"),
        memory("delete_expired", "writes-after-close-are-refused"),
        memory("clear_namespace", "writes-after-close-are-refused"),
        memory("get_namespace_quota", "reads-after-close-are-refused"),
        memory("set_namespace_quota", "writes-after-close-are-refused"),
        memory("list_namespace_quotas", "reads-after-close-are-refused"),
        memory("read_version_counter", "reads-after-close-are-refused"),
        memory("read_meta", "reads-after-close-are-refused"),
        memory("replace_meta", "writes-after-close-are-refused"),
        memory("integrity_check", "reads-after-close-are-refused"),
        memory("list_meta", "reads-after-close-are-refused"),
        memory("begin_view", "reads-after-close-are-refused"),
        memory("end_view", "reads-after-close-are-refused"),
        memory("begin_import", "writes-after-close-are-refused"),
        memory("write_import", "writes-after-close-are-refused"),
        memory("commit_import", "writes-after-close-are-refused"),
        memory("end_import", "writes-after-close-are-refused"),
        memory("changes_since", "changes-after-close-are-refused"),
        memory("nearest", "searches-after-close-are-refused"),
        sqlite("end_restore", "snapshots-after-close-are-refused"),
        sqlite("begin_snapshot", "snapshots-after-close-are-refused"),
        sqlite("begin_restore", "snapshots-after-close-are-refused"),
        memory("read_blob", "blobs-after-close-are-refused"),
        memory("write_blob", "blobs-before-open-are-refused"),
        memory("delete_blobs", "blobs-after-close-are-refused"),
        memory("list_blobs", "blobs-before-open-are-refused"),
    ]
}
