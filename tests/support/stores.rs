//! A store whose calls a test can watch, delay, fail or blow up.

use mneme::MemoryStore;
use mneme_store::checks::Embedder;
use mneme_store::{BackendError, CapabilitySet, Result, Store, StoreError, for_each_operation};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs before every call of the store but `capabilities`, with the operation's name. An
/// error is returned in place of the call.
pub type Hook = Box<dyn FnMut(&'static str) -> Result<()> + Send>;

/// A store that asks a hook before each call. Clones share the store and the hook.
#[derive(Clone)]
pub struct Hooked {
    store: Arc<Mutex<MemoryStore>>,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    /// An empty store.
    pub fn new(hook: impl FnMut(&'static str) -> Result<()> + Send + 'static) -> Self {
        Hooked {
            store: Arc::default(),
            hook: Arc::new(Mutex::new(Box::new(hook))),
        }
    }

    /// Another handle of the same store, with a hook that is called beside those of others.
    pub fn with_hook(&self, hook: impl FnMut(&'static str) -> Result<()> + Send + 'static) -> Self {
        Hooked {
            store: Arc::clone(&self.store),
            hook: Arc::new(Mutex::new(Box::new(hook))),
        }
    }

    /// Replaces the hook.
    pub fn set_hook(&self, hook: impl FnMut(&'static str) -> Result<()> + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(hook);
    }

    /// The store itself, past the hook.
    pub fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, operation: &'static str) -> Result<MutexGuard<'_, MemoryStore>> {
        (self.hook.lock().unwrap_or_else(PoisonError::into_inner))(operation)?;
        Ok(self.inner())
    }
}

/// The error of an injected fault.
pub fn fault(operation: &str) -> StoreError {
    StoreError::Backend(BackendError {
        message: format!("injected fault in {operation}; call again"),
        retryable: true,
    })
}

/// Passes calls on, the hook first.
macro_rules! hooked {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            self.before(stringify!($name))?.$name($($arg),*)
        })*
    };
}

#[deny(clippy::missing_trait_methods)]
impl Store for Hooked {
    fn capabilities(&self) -> CapabilitySet {
        self.inner().capabilities()
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.before("recorded_embedder")?.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<std::time::Duration>> {
        self.inner().server_time()
    }

    fn read_only(&self) -> Option<String> {
        self.inner().read_only()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner().warnings()
    }

    for_each_operation!(hooked![]);
}
