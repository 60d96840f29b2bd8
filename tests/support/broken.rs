//! Stores that are broken on purpose, each by one fault, to judge the judge of stores.
//!
//! The tables of faults are in the modules below, by subject. A row names the fault and the case
//! of the battery that must fail, and then has a closure for each operation that is broken:
//!
//! ```text
//! memory("a quota is kept without its last bit")
//!     .caught_by("large-quotas-are-kept-exactly")
//!     .get_namespace_quota(|store, name| {
//!         Ok(store.get_namespace_quota(name)?.map(|quota| quota & !1))
//!     })
//! ```

/// A table of faults.
macro_rules! faults {
    ($($fault:expr),* $(,)?) => {
        vec![$(crate::broken::Known::from($fault)),*]
    };
}

mod bare_reads;
mod between;
mod blobs;
mod changes;
mod closed;
mod contexts;
mod counting;
mod counts;
mod deleting;
mod entries;
mod hits;
mod ids;
mod imports;
mod keys;
mod namespace_pages;
mod nearest;
mod opening;
mod reads;
mod selecting;
mod settings;
mod snapshots;
mod views;

use mneme::{MemoryStore, SqliteStore};
use mneme_store::checks::Embedder;
use mneme_store::{CapabilitySet, Entry, EntryKey, EntryRef, Result, Store, for_each_operation};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store as faults see it.
pub type Sound = dyn Store;

/// What a closure of a fault is given: the sound store behind it, whose operations it can call.
pub struct Behind<'a, S> {
    /// The sound store, for functions that work on any.
    pub sound: &'a mut Sound,
    /// What the fault keeps from one call to the next.
    pub kept: &'a mut S,
    /// The store's file, if it has one.
    pub path: &'a Path,
}

impl<S> Deref for Behind<'_, S> {
    type Target = Sound;

    fn deref(&self) -> &Sound {
        self.sound
    }
}

impl<S> DerefMut for Behind<'_, S> {
    fn deref_mut(&mut self) -> &mut Sound {
        self.sound
    }
}

/// A fault with a closure for each operation that may be broken, and its builder.
macro_rules! fault {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        /// A fault: it answers the operations that it has a closure for. All others are sound.
        pub struct Fault<S = ()> {
            name: String,
            caught_by: &'static str,
            base: Base,
            capabilities: Box<dyn Fn(&S, &mut CapabilitySet) + Send + Sync>,
            moves: Box<dyn Fn(&S, &str, bool) -> i64 + Send + Sync>,
            $($name: Option<
                Box<dyn Fn(&mut Behind<'_, S> $(, $($type)*)*) -> Result<$($result)*> + Send + Sync>,
            >,)*
        }

        impl<S> Fault<S> {
            fn new(base: Base, name: impl Into<String>) -> Self {
                Fault {
                    name: name.into(),
                    caught_by: "",
                    base,
                    capabilities: Box::new(|_, _| {}),
                    moves: Box::new(|_, _, moved| i64::from(moved)),
                    $($name: None,)*
                }
            }

            $(
                #[doc = concat!("Answers [`Store::", stringify!($name), "`].")]
                pub fn $name(
                    mut self,
                    answer: impl Fn(&mut Behind<'_, S> $(, $($type)*)*) -> Result<$($result)*>
                        + Send
                        + Sync
                        + 'static,
                ) -> Self {
                    self.$name = Some(Box::new(answer));
                    self
                }
            )*
        }

        impl<S> Broken<S> {
            $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
                let store = &mut Behind {
                    sound: &mut *self.sound,
                    kept: &mut self.kept,
                    path: &self.path,
                };
                match &self.fault.$name {
                    Some(answer) => answer(store $(, $arg)*),
                    None => store.$name($($arg),*),
                }
            })*
        }
    };
}

for_each_operation!(fault![]);

/// A fault before a new memory store.
pub fn memory(name: impl Into<String>) -> Fault {
    Fault::new(Base::Memory, name)
}

/// A fault before a store on a SQLite file.
pub fn sqlite(name: impl Into<String>) -> Fault {
    Fault::new(Base::Sqlite, name)
}

impl Fault {
    /// Lets closures keep something from one call to the next. It comes before all of them.
    pub fn keeping<S>(self) -> Fault<S> {
        Fault::new(self.base, self.name).caught_by(self.caught_by)
    }
}

impl<S> Fault<S> {
    /// Names the case of the battery that must fail.
    pub fn caught_by(mut self, case: &'static str) -> Self {
        self.caught_by = case;
        self
    }

    /// Changes what the store says of itself.
    pub fn capabilities(
        mut self,
        change: impl Fn(&S, &mut CapabilitySet) + Send + Sync + 'static,
    ) -> Self {
        self.capabilities = Box::new(change);
        self
    }

    /// Says how far a successful write moves the version counter that is shown, given the
    /// operation and whether the sound one has moved.
    pub fn moves(mut self, by: impl Fn(&S, &str, bool) -> i64 + Send + Sync + 'static) -> Self {
        self.moves = Box::new(by);
        self
    }
}

/// A store with a fault.
pub struct Broken<S = ()> {
    sound: Box<Sound>,
    fault: Arc<Fault<S>>,
    kept: S,
    path: PathBuf,
    /// The version counter that is shown, less the sound one.
    shift: i64,
}

impl<S: Default> Broken<S> {
    /// Puts a fault before a store, on the file at `path` if it has one.
    pub fn new(fault: impl Into<Arc<Fault<S>>>, path: &Path) -> Self {
        let fault = fault.into();
        Broken {
            sound: match fault.base {
                Base::Memory => Box::new(MemoryStore::new()),
                Base::Sqlite => Box::new(SqliteStore::new(path)),
            },
            fault,
            kept: S::default(),
            path: path.to_owned(),
            shift: 0,
        }
    }
}

impl<S> Broken<S> {
    /// Keeps the version counter that is shown in step with the calls, however many of the
    /// sound store's a fault has made of one.
    fn settle(&mut self, before: Result<u64>, operation: &str, done: bool) {
        // Of a closed store there is nothing to settle.
        let (Ok(before), Ok(after)) = (before, self.sound.read_version_counter()) else {
            return;
        };
        let moved = i64::try_from(after - before).unwrap_or(i64::MAX);
        let shown = if done {
            (self.fault.moves)(&self.kept, operation, moved > 0)
        } else {
            0
        };
        self.shift += shown - moved;
    }
}

/// The methods of a store, which go through its fault.
macro_rules! broken {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            broken!($kind $name, self, Broken::$name(self $(, $arg)*))
        })*
    };
    (read read_version_counter, $self:ident, $call:expr) => {
        $call.map(|version| version.saturating_add_signed($self.shift))
    };
    (write $name:ident, $self:ident, $call:expr) => {{
        let before = $self.sound.read_version_counter();
        let result = $call;
        $self.settle(before, stringify!($name), result.is_ok());
        result
    }};
    ($kind:ident $name:ident, $self:ident, $call:expr) => {
        $call
    };
}

#[deny(clippy::missing_trait_methods)]
impl<S: Send> Store for Broken<S> {
    fn capabilities(&self) -> CapabilitySet {
        let mut capabilities = self.sound.capabilities();
        (self.fault.capabilities)(&self.kept, &mut capabilities);
        capabilities
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.sound.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<std::time::Duration>> {
        self.sound.server_time()
    }

    fn read_only(&self) -> Option<String> {
        self.sound.read_only()
    }

    fn warnings(&self) -> Vec<String> {
        self.sound.warnings()
    }

    for_each_operation!(broken![]);
}

/// What a fault is put before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A new memory store each time.
    Memory,
    /// A SQLite file.
    Sqlite,
}

/// A fault with what is expected of the battery.
pub struct Known {
    /// What is wrong.
    pub name: String,
    /// The case that must fail.
    pub caught_by: &'static str,
    /// What the fault is put before.
    pub base: Base,
    make: Box<Make>,
}

/// Makes a store on the file at a path.
type Make = dyn Fn(&Path) -> Box<Sound> + Send + Sync;

impl Known {
    /// A store with this fault, on the file at `path` if it has one.
    pub fn store(&self, path: &Path) -> Box<Sound> {
        (self.make)(path)
    }
}

impl<S: Default + Send + 'static> From<Fault<S>> for Known {
    fn from(fault: Fault<S>) -> Self {
        let fault = Arc::new(fault);
        Known {
            name: fault.name.clone(),
            caught_by: fault.caught_by,
            base: fault.base,
            make: Box::new(move |path| Box::new(Broken::new(Arc::clone(&fault), path))),
        }
    }
}

/// All faults.
pub fn all_known() -> Vec<Known> {
    [
        counting::faults(),
        ids::faults(),
        reads::pages(),
        reads::eviction(),
        reads::looking_up(),
        bare_reads::faults(),
        contexts::faults(),
        selecting::conditions(),
        selecting::walks(),
        selecting::writes::faults(),
        changes::faults(),
        nearest::faults(),
        deleting::faults(),
        hits::faults(),
        entries::replacing(),
        entries::values(),
        entries::batches(),
        keys::faults(),
        counts::faults(),
        namespace_pages::faults(),
        settings::quotas(),
        settings::meta(),
        settings::listing_meta(),
        opening::faults(),
        opening::capabilities(),
        closed::faults(),
        between::faults(),
        views::faults(),
        snapshots::faults(),
        snapshots::checked_restores(),
        imports::results::faults(),
        imports::steps(),
        imports::errors(),
        imports::settings(),
        imports::modes::faults(),
        imports::between::faults(),
        blobs::bytes(),
        blobs::names(),
        blobs::claims(),
        blobs::beside::faults(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A store that panics, which must be told from one that answers wrongly.
pub fn panicking() -> Known {
    memory("a failure is a panic")
        .caught_by("deleting-unknown-ids-is-false")
        .delete_by_id(|_, id| panic!("no row with id {id}"))
        .into()
}

/// A store that does not return.
pub fn hanging() -> Known {
    memory("a call does not return")
        .caught_by("deleting-unknown-ids-is-false")
        .delete_by_id(|_, _| {
            loop {
                std::thread::park();
            }
        })
        .into()
}

/// No fault, before a store of either kind.
pub fn healthy(base: Base) -> Known {
    Fault::<()>::new(base, "none").into()
}

/// A store of either kind that keeps no blobs, and says so.
pub fn without_blobs(base: Base) -> Known {
    Fault::new(base, "none")
        .capabilities(|_, says| says.max_blob = 0)
        .without_blobs()
        .into()
}

/// A store of either kind that keeps no log of changes, and says so.
pub fn without_changes(base: Base) -> Known {
    Fault::new(base, "none").without_changes().into()
}

/// What an operation answers, changed if it is no error.
fn changed<T>(answer: Result<T>, change: impl FnOnce(&mut T)) -> Result<T> {
    answer.map(|mut value| {
        change(&mut value);
        value
    })
}

/// Another store on the same SQLite file.
fn beside<S>(store: &mut Behind<'_, S>) -> Result<SqliteStore> {
    let fingerprint = store.read_meta("embedder_fingerprint")?.unwrap_or_default();
    let dim = store.read_meta("embedder_dim")?.unwrap_or_default();
    let mut other = SqliteStore::new(store.path);
    other.open(&fingerprint, dim.parse().unwrap_or_default())?;
    Ok(other)
}

/// Every entry of a store.
fn all(store: &mut Sound) -> Result<Vec<Entry>> {
    store.iter_since(0, u32::MAX)
}

/// Every entry of a namespace, or of all.
fn all_of(store: &mut Sound, namespace: Option<&str>) -> Result<Vec<Entry>> {
    let mut entries = all(store)?;
    entries.retain(|entry| namespace.is_none_or(|name| name == entry.namespace));
    Ok(entries)
}

/// The entry that has the same namespace and hash, if there is one.
fn same_key(store: &mut Sound, entry: &Entry) -> Result<Option<Entry>> {
    Ok(store.get_by_hash(&[key(entry)], true)?.pop().flatten())
}

/// What names an entry, whatever its version.
fn key(entry: &Entry) -> EntryKey {
    EntryKey {
        namespace: entry.namespace.clone(),
        query_hash: entry.query_hash.clone(),
    }
}

/// Whether two entries have one key.
fn same_pair(one: &Entry, other: &Entry) -> bool {
    one.namespace == other.namespace && one.query_hash == other.query_hash
}

/// What names the present version of an entry.
fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}

/// The text before the first U+0000.
fn cut_at_nul(text: &str) -> String {
    text.split('\0').next().unwrap_or_default().to_owned()
}

/// The order of UTF-16.
fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}
