//! What is the same in every store over a backend: it is open or closed, arguments are checked,
//! and errors say where and in which operation.
//!
//! A store holds an [`Opened`] and leaves its operations to [`opened!`](macro@crate::opened), which
//! calls the methods of the same names of the backend's session:
//!
//! ```
//! use mneme_store::checks::Embedder;
//! use mneme_store::opened::{Backend, Opened};
//! use mneme_store::{CapabilitySet, StoreError};
//!
//! /// Where the data is.
//! struct Files { folder: String }
//!
//! /// What is open, with a method for each operation, such as
//! /// `fn count(&mut self, namespace: Option<&str>) -> Result<u64, std::io::Error>`.
//! struct Session;
//!
//! impl Backend for Files {
//!     type Session = Session;
//!     type Fault = std::io::Error;
//!
//!     fn capabilities(&self) -> CapabilitySet {
//! #       unimplemented!()
//!         // …
//!     }
//!
//!     fn recorded_embedder(&self) -> Result<Option<Embedder>, Self::Fault> {
//!         Ok(None)
//!     }
//!
//!     fn open(&mut self, embedder: Embedder) -> Result<Session, Self::Fault> {
//!         Ok(Session)
//!     }
//!
//!     fn close(&mut self, session: Session) -> Result<(), Self::Fault> {
//!         Ok(())
//!     }
//!
//!     fn error(&self, fault: Self::Fault, operation: &'static str) -> StoreError {
//!         StoreError::Corrupt(format!("folder {}, {operation}: {fault}", self.folder))
//!     }
//! }
//!
//! pub struct FileStore { opened: Opened<Files> }
//! # let _ = FileStore { opened: Opened::new(Files { folder: String::new() }) };
//!
//! // With the operations that the backend has:
//! // impl Store for FileStore {
//! //     for_each_operation!(opened![] views entries);
//! // }
//! ```

use std::fmt;
use std::time::Duration;

use self::silence::Silence;
use super::checks::{self, Embedder};
use super::{CapabilitySet, Entry, MetaChange, Result, StoreError, Touch, VectorQuery};

mod silence;

/// The most entries of one `insert` or `write_import` in the stores whose backend sets no lower
/// limit. A page of so many is some 2 MB with vectors of 384 values.
pub const MAX_BATCH: u32 = 1000;

/// The most bytes of a blob in the stores whose backend sets no lower limit: 1 MiB, the most that
/// the contract allows.
pub const MAX_BLOB: u32 = 1 << 20;

/// How long the stores over a network wait for the bookkeeping of a cache, `update_access` and
/// `replace_meta`, unless their other calls wait even less. Answers must not wait for it.
pub const BOOKKEEPING_PATIENCE: Duration = Duration::from_secs(1);

/// Asks, with short patience and over a separate connection, whether the backend answers.
pub type Probe = Box<dyn FnMut() -> bool + Send>;

/// A backend: how it is opened and closed, and what its failures mean.
pub trait Backend {
    /// What there is while the store is open. Its methods are the operations.
    type Session;

    /// A failure that does not say yet where it happened.
    type Fault;

    /// See [`Store::capabilities`](crate::Store::capabilities).
    fn capabilities(&self) -> CapabilitySet;

    /// See [`Store::recorded_embedder`](crate::Store::recorded_embedder).
    ///
    /// # Errors
    ///
    /// As there.
    fn recorded_embedder(&self) -> Result<Option<Embedder>, Self::Fault>;

    /// Connects, creates what is missing, and checks that the data was made with this embedder.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open`](crate::Store::open).
    fn open(&mut self, embedder: Embedder) -> Result<Self::Session, Self::Fault>;

    /// Releases what the session holds.
    ///
    /// # Errors
    ///
    /// Where something was not released.
    fn close(&mut self, session: Self::Session) -> Result<(), Self::Fault>;

    /// How to find out whether the backend answers again, if the fault is that it was silent until
    /// a timeout. From then on calls fail at once, until a probe in the background succeeds:
    /// otherwise callers would wait for one timeout after the other. None, the default, lets calls
    /// go on as before.
    fn probe(&self, fault: &Self::Fault) -> Option<Probe> {
        let _ = fault;
        None
    }

    /// See [`Store::server_time`](crate::Store::server_time). By default none. Without a session the
    /// store is closed, and nothing may be created.
    ///
    /// # Errors
    ///
    /// As there.
    fn server_time(
        &self,
        session: Option<&mut Self::Session>,
    ) -> Result<Option<Duration>, Self::Fault> {
        let _ = session;
        Ok(None)
    }

    /// See [`Store::read_only`](crate::Store::read_only). By default none.
    fn read_only(&self, session: &Self::Session) -> Option<String> {
        let _ = session;
        None
    }

    /// See [`Store::warnings`](crate::Store::warnings). By default none.
    fn warnings(&self, session: &Self::Session) -> Vec<String> {
        let _ = session;
        Vec::new()
    }

    /// The error for the caller: at which place, in which operation, and whether calling it
    /// again is harmless.
    fn error(&self, fault: Self::Fault, operation: &'static str) -> StoreError;
}

/// A backend and its session, if it is open.
pub struct Opened<B: Backend> {
    /// The backend.
    pub backend: B,
    session: Option<B::Session>,
    silence: Silence,
    limits: Limits,
}

/// What arguments are checked against.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    dim: u32,
    max_batch: u32,
    max_blob: u32,
}

impl<B: Backend> Opened<B> {
    /// A closed backend.
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            session: None,
            silence: Silence::default(),
            limits: Limits::default(),
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Opens the backend, after closing it.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for a `dim` out of range, and the backend's.
    pub fn open(&mut self, fingerprint: &str, dim: u32) -> Result<()> {
        // What cannot be released does not keep a new session from being opened.
        let _ = self.close();
        let embedder = Embedder::given(fingerprint, dim)?;
        let session = self.backend.open(embedder);
        self.session = Some(session.map_err(|fault| self.backend.error(fault, "open"))?);
        self.silence = Silence::default();
        let CapabilitySet {
            max_batch,
            max_blob,
            ..
        } = self.backend.capabilities();
        self.limits = Limits {
            dim,
            max_batch,
            max_blob,
        };
        Ok(())
    }

    /// Closes the backend, if it is open.
    ///
    /// # Errors
    ///
    /// The backend's. The store is closed even then.
    pub fn close(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        if self.silence.is_on() {
            // Nobody is there to say goodbye to.
            return Ok(());
        }
        let closed = self.backend.close(session);
        closed.map_err(|fault| self.backend.error(fault, "close"))
    }

    /// See [`Store::recorded_embedder`](crate::Store::recorded_embedder).
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        let found = self.backend.recorded_embedder();
        // To whoever reads the error it is a part of opening.
        found.map_err(|fault| self.backend.error(fault, "open"))
    }

    /// See [`Store::server_time`](crate::Store::server_time).
    ///
    /// # Errors
    ///
    /// The backend's; a retryable [`StoreError::Backend`] at once while the backend is silent.
    pub fn server_time(&mut self) -> Result<Option<Duration>> {
        self.silence.check("server_time")?;
        let outcome = self.backend.server_time(self.session.as_mut());
        outcome.map_err(|fault| self.backend.error(fault, "server_time"))
    }

    /// See [`Store::read_only`](crate::Store::read_only).
    pub fn read_only(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        self.backend.read_only(session)
    }

    /// See [`Store::warnings`](crate::Store::warnings).
    pub fn warnings(&self) -> Vec<String> {
        let session = self.session.as_ref();
        session.map_or_else(Vec::new, |session| self.backend.warnings(session))
    }

    /// Runs an operation.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and the backend's; a retryable [`StoreError::Backend`] at once while
    /// the backend is silent.
    pub fn run<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut B::Session) -> Result<T, B::Fault>,
    ) -> Result<T> {
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        self.silence.check(operation)?;
        work(session).map_err(|fault| {
            // Bookkeeping gives up before it is known that the backend is silent.
            let probe = match operation {
                "update_access" | "replace_meta" | "delete_unchanged" => None,
                _ => self.backend.probe(&fault),
            };
            let error = self.backend.error(fault, operation);
            if let Some(probe) = probe {
                self.silence.begin(&error, probe);
            }
            error
        })
    }

    fn limits(&self) -> Result<Limits> {
        match self.session {
            Some(_) => Ok(self.limits),
            None => Err(StoreError::Closed),
        }
    }

    /// Rejects entries that cannot be stored; see [`checks::batch`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_batch(&self, entries: &[Entry]) -> Result<()> {
        let limits = self.limits()?;
        checks::batch(entries, limits.max_batch, limits.dim)
    }

    /// Rejects hits at a time that is too large; see [`checks::touches`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_touches(&self, touches: &[Touch]) -> Result<()> {
        self.limits()?;
        checks::touches(touches)
    }

    /// Rejects a search that no store can make; see [`checks::vector_query`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_vector_query(&self, query: &VectorQuery, limit: u32) -> Result<()> {
        checks::vector_query(query, limit, self.limits()?.dim)
    }

    /// Rejects quotas that are too large; see [`checks::quotas`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_quotas(&self, quotas: impl IntoIterator<Item = u64>) -> Result<()> {
        self.limits()?;
        checks::quotas(quotas)
    }

    /// Rejects a meta key that is the store's own; see [`checks::meta_key`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_meta_key(&self, key: &str) -> Result<()> {
        self.limits()?;
        checks::meta_key(key)
    }

    /// Rejects changes of meta keys that are the store's own; see [`checks::meta_key`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_meta_changes(&self, changes: &[MetaChange]) -> Result<()> {
        self.limits()?;
        let mut keys = changes.iter().map(|change| change.key.as_str());
        keys.try_for_each(checks::meta_key)
    }

    /// Rejects invalid blob names; see [`checks::blob_name`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_blob_names<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        self.limits()?;
        names.into_iter().try_for_each(checks::blob_name)
    }

    /// Rejects a blob that cannot be stored; see [`checks::blob`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`], and those of the check.
    pub fn check_blob(&self, name: &str, bytes: &[u8]) -> Result<()> {
        checks::blob(name, bytes, self.limits()?.max_blob)
    }
}

/// Without what the session holds.
impl<B: Backend + fmt::Debug> fmt::Debug for Opened<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("backend", &self.backend)
            .field("open", &self.is_open())
            .finish()
    }
}

impl<B: Backend + Default> Default for Opened<B> {
    fn default() -> Self {
        Self::new(B::default())
    }
}

/// The methods of a store whose field `opened` is an [`Opened`](crate::opened::Opened), for
/// [`for_each_operation!`](crate::for_each_operation). Each is the method of the same name and
/// arguments of the session; where a function stands in the brackets, that makes a result of
/// what the method returns.
#[macro_export]
macro_rules! opened {
    ($wait:tt $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        fn capabilities(&self) -> $crate::CapabilitySet {
            $crate::opened::Backend::capabilities(&self.opened.backend)
        }

        fn recorded_embedder(&mut self) -> $crate::Result<Option<$crate::checks::Embedder>> {
            self.opened.recorded_embedder()
        }

        fn server_time(&mut self) -> $crate::Result<Option<std::time::Duration>> {
            self.opened.server_time()
        }

        fn read_only(&self) -> Option<String> {
            self.opened.read_only()
        }

        fn warnings(&self) -> Vec<String> {
            self.opened.warnings()
        }

        $(fn $name(&mut self $(, $arg: $($type)*)*) -> $crate::Result<$($result)*> {
            $crate::checked!(self, $name($($arg),*));
            $crate::run!($kind, self.opened, $wait $name($($arg),*))
        })*
    };
}

/// Checks the arguments of an operation. An import does not outlive wrong ones.
#[doc(hidden)]
#[macro_export]
macro_rules! checked {
    ($store:expr, insert($entries:ident)) => {
        $store.opened.check_batch(&$entries)?
    };
    ($store:expr, replace_meta($key:ident, $expected:ident, $value:ident)) => {
        $store.opened.check_meta_key($key)?
    };
    ($store:expr, update_access($touches:ident)) => {
        $store.opened.check_touches($touches)?
    };
    ($store:expr, nearest($query:ident, $limit:ident)) => {
        $store.opened.check_vector_query($query, $limit)?
    };
    ($store:expr, set_namespace_quota($namespace:ident, $quota:ident)) => {
        $store.opened.check_quotas($quota)?
    };
    ($store:expr, read_blob($name:ident)) => {
        $store.opened.check_blob_names([$name])?
    };
    ($store:expr, write_blob($name:ident, $bytes:ident)) => {
        $store.opened.check_blob($name, &$bytes)?
    };
    ($store:expr, delete_blobs($names:ident)) => {
        $store
            .opened
            .check_blob_names($names.iter().map(String::as_str))?
    };
    ($store:expr, write_import($entries:ident)) => {
        let checked = $store.opened.check_batch(&$entries);
        checked.inspect_err(|_| drop($store.end_import()))?
    };
    ($store:expr, commit_import($quotas:ident, $meta:ident)) => {
        let quotas = $quotas.iter().map(|(_, quota)| *quota);
        let checked = $store.opened.check_quotas(quotas);
        let checked = checked.and_then(|()| $store.opened.check_meta_changes($meta));
        checked.inspect_err(|_| drop($store.end_import()))?
    };
    ($store:expr, $other:ident($($arg:ident),*)) => {};
}

/// Runs an operation: opening and closing is done here, all else by the session.
#[doc(hidden)]
#[macro_export]
macro_rules! run {
    (life, $opened:expr, [$($wait:ident)?] $name:ident($($arg:ident),*)) => {
        $opened.$name($($arg),*)
    };
    ($kind:ident, $opened:expr, [$($wait:ident)?] $name:ident($($arg:ident),*)) => {
        $opened.run(stringify!($name), |session| $($wait)?(session.$name($($arg),*)))
    };
}
