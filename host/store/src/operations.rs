//! All operations of the contract in one list, for code that treats each of them alike.

/// Calls a macro with every operation of [`Store`](crate::Store) but `capabilities`,
/// `recorded_embedder`, `server_time`, `read_only` and `warnings`: its kind, its name, its arguments and its result, as in the trait.
///
/// | kind | operations |
/// |---|---|
/// | `life` | `open` and `close` |
/// | `read` | those that change nothing |
/// | `write` | those that change entries, access data, quotas or meta |
/// | `aside` | those that change what no reader of entries sees: blobs, views, unfinished imports and restores, snapshots |
/// | `restore` | `commit_restore`, which replaces everything |
///
/// Not every backend has all families of operations. What a store names after the brackets is in
/// the list: `views`, `changes`, `snapshots`, and `entries`, which stands last and is all the rest. Without
/// a name all are.
///
/// Types are in parentheses, so that the macro can look into them; [`owned!`](crate::owned) and
/// [`lent!`](crate::lent) do. What stands in brackets is passed on before the list.
///
/// ```
/// use mneme_store::checks::Embedder;
/// use mneme_store::{CapabilitySet, MemoryStore, Result, Store, for_each_operation};
///
/// /// Counts the calls of a store.
/// struct Counted(MemoryStore, u64);
///
/// macro_rules! counted {
///     ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
///         $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
///             self.1 += 1;
///             self.0.$name($($arg),*)
///         })*
///     };
/// }
///
/// #[deny(clippy::missing_trait_methods)]
/// impl Store for Counted {
///     fn capabilities(&self) -> CapabilitySet {
///         self.0.capabilities()
///     }
///
///     fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
///         self.0.recorded_embedder()
///     }
///
///     fn server_time(&mut self) -> Result<Option<std::time::Duration>> {
///         self.0.server_time()
///     }
///
///     fn read_only(&self) -> Option<String> {
///         self.0.read_only()
///     }
///
///     fn warnings(&self) -> Vec<String> {
///         self.0.warnings()
///     }
///
///     for_each_operation!(counted! []);
/// }
///
/// let mut store = Counted(MemoryStore::new(), 0);
/// store.open("my-embedder@1", 3)?;
/// assert_eq!((store.count(None)?, store.1), (0, 2));
/// # Ok::<(), mneme_store::StoreError>(())
/// ```
#[macro_export]
macro_rules! for_each_operation {
    ($callback:ident! [$($context:tt)*]) => {
        $crate::for_each_operation! { $callback! [$($context)*] views changes nearest snapshots entries }
    };
    ($callback:ident! [$($context:tt)*] views $($more:tt)*) => {
        $crate::for_each_operation! {
            $callback! [$($context)*] $($more)*
            aside begin_view() -> (bool);
            aside end_view() -> (());
        }
    };
    ($callback:ident! [$($context:tt)*] changes $($more:tt)*) => {
        $crate::for_each_operation! {
            $callback! [$($context)*] $($more)*
            read changes_since(version: (u64), limit: (u32)) -> (Option<$crate::ChangePage>);
        }
    };
    ($callback:ident! [$($context:tt)*] nearest $($more:tt)*) => {
        $crate::for_each_operation! {
            $callback! [$($context)*] $($more)*
            read nearest(query: (&$crate::VectorQuery), limit: (u32)) -> (Vec<$crate::Neighbour>);
        }
    };
    ($callback:ident! [$($context:tt)*] snapshots $($more:tt)*) => {
        $crate::for_each_operation! {
            $callback! [$($context)*] $($more)*
            aside begin_snapshot() -> (u64);
            aside read_snapshot(max: (u32)) -> (Vec<u8>);
            aside end_snapshot() -> (());
            aside begin_restore() -> (());
            aside write_restore(bytes: (&[u8])) -> (());
            aside check_restore() -> ($crate::Restored);
            aside read_restore(last_id: (u64), limit: (u32)) -> (Vec<$crate::Entry>);
            restore commit_restore(only_if_empty: (bool)) -> (());
            aside end_restore() -> (());
        }
    };
    ($callback:ident! [$($context:tt)*] entries $($more:tt)*) => {
        $callback! {
            [$($context)*]
            life open(embedder_fingerprint: (&str), embedder_dim: (u32)) -> (());
            life close() -> (());
            read get_by_hash(keys: (&[$crate::EntryKey]), vectors: (bool)) -> (Vec<Option<$crate::Entry>>);
            read get_by_ids(ids: (&[u64]), vectors: (bool)) -> (Vec<$crate::Entry>);
            read select(filter: (&$crate::Filter), last_id: (u64), limit: (u32)) -> ($crate::Selection);
            read count(namespace: (Option<&str>)) -> (u64);
            read list_namespaces(after: (Option<&str>), limit: (u32)) -> (Vec<String>);
            read count_by_namespace(after: (Option<&str>), limit: (u32)) -> (Vec<(String, u64)>);
            read iter_lru_ids(n: (u32), namespace: (Option<&str>)) -> (Vec<$crate::EntryRef>);
            read iter_since(last_id: (u64), limit: (u32)) -> (Vec<$crate::Entry>);
            read iter_vectors(last_id: (u64), limit: (u32)) -> ($crate::VectorPage);
            read iter_stamps(last_id: (u64), limit: (u32)) -> ($crate::StampPage);
            write insert(entries: (Vec<$crate::Entry>)) -> (Vec<$crate::Inserted>);
            write update_access(touches: (&[$crate::Touch])) -> (());
            write delete_by_id(id: (u64)) -> (bool);
            write delete_unchanged(entries: (&[$crate::EntryRef])) -> (Vec<u64>);
            write delete_expired(now: (u64), namespace: (Option<&str>), limit: (u32)) -> (Vec<$crate::EntryRef>);
            write clear_namespace(namespace: (Option<&str>)) -> (u64);
            write set_namespace_quota(namespace: (&str), max_entries: (Option<u64>)) -> (());
            read get_namespace_quota(namespace: (&str)) -> (Option<u64>);
            read list_namespace_quotas() -> (Vec<(String, u64)>);
            read read_version_counter() -> (u64);
            read read_meta(key: (&str)) -> (Option<String>);
            write replace_meta(key: (&str), expected: (Option<&str>), value: (Option<&str>)) -> (bool);
            read list_meta() -> (Vec<(String, String)>);
            read integrity_check() -> (bool);
            read read_blob(name: (&str)) -> (Option<Vec<u8>>);
            aside write_blob(name: (&str), bytes: (Vec<u8>)) -> (());
            aside delete_blobs(names: (&[String])) -> (());
            read list_blobs() -> (Vec<String>);
            aside begin_import(mode: ($crate::ImportMode)) -> (());
            aside write_import(entries: (Vec<$crate::Entry>)) -> (());
            write commit_import(quotas: (&[(String, u64)]), meta: (&[$crate::MetaChange])) -> (bool);
            aside end_import() -> (());
            $($more)*
        }
    };
}

/// The owned type of an argument of [`Store`](crate::Store), as a host receives it: `Vec<T>` for
/// `&[T]`, `String` for `&str`, `T` for `&T`.
#[macro_export]
macro_rules! owned {
    (&[$($item:tt)*]) => { Vec<$($item)*> };
    (&str) => { String };
    (Option<&str>) => { Option<String> };
    (&$($other:tt)*) => { $($other)* };
    ($($other:tt)*) => { $($other)* };
}

/// The argument for [`Store`](crate::Store), made from one of the type that
/// [`owned!`](crate::owned) gives.
#[macro_export]
macro_rules! lent {
    ($arg:ident: &[$($item:tt)*]) => {
        &$arg
    };
    ($arg:ident: &str) => {
        &$arg
    };
    ($arg:ident: Option<&str>) => {
        $arg.as_deref()
    };
    ($arg:ident: &$($other:tt)*) => {
        &$arg
    };
    ($arg:ident: $($other:tt)*) => {
        $arg
    };
}
