//! A store that must hold a cache already.

use std::time::Duration;

use super::{BackendError, CapabilitySet, Result, Store, StoreError};
use mneme_store::checks::Embedder;
use mneme_store::for_each_operation;

/// Opens a store only if it holds a cache.
pub(super) struct Existing(pub Box<dyn Store>);

impl Existing {
    fn accept(&mut self) -> Result<()> {
        if self.0.recorded_embedder()?.is_some() {
            return Ok(());
        }
        Err(StoreError::Backend(BackendError {
            message: format!(
                "there is no cache in the {} store that was named; check its name, or create the cache by storing something in it",
                self.0.capabilities().name
            ),
            retryable: false,
        }))
    }
}

/// Passes calls on.
macro_rules! passed_on {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            checked!(self, $name);
            self.0.$name($($arg),*)
        })*
    };
}

macro_rules! checked {
    ($store:expr, open) => {
        $store.accept()?
    };
    ($store:expr, $other:ident) => {};
}

#[deny(clippy::missing_trait_methods)]
impl Store for Existing {
    fn capabilities(&self) -> CapabilitySet {
        self.0.capabilities()
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.0.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<Duration>> {
        self.0.server_time()
    }

    fn read_only(&self) -> Option<String> {
        self.0.read_only()
    }

    fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }

    for_each_operation!(passed_on![]);
}
