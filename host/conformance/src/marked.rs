//! A store that tells when its writes return.

use mneme_store::checks::Embedder;
use mneme_store::{CapabilitySet, Result, Store, for_each_operation};

/// Passes every call on, and calls `wrote` after each successful `insert`.
pub(super) struct Marked<F> {
    pub store: Box<dyn Store>,
    pub wrote: F,
}

impl<F: FnMut()> Marked<F> {
    fn done(&mut self, operation: &str) {
        if operation == "insert" {
            (self.wrote)();
        }
    }
}

macro_rules! marked {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            let result = self.store.$name($($arg),*)?;
            self.done(stringify!($name));
            Ok(result)
        })*
    };
}

#[deny(clippy::missing_trait_methods)]
impl<F: FnMut() + Send> Store for Marked<F> {
    fn capabilities(&self) -> CapabilitySet {
        self.store.capabilities()
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.store.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<std::time::Duration>> {
        self.store.server_time()
    }

    fn read_only(&self) -> Option<String> {
        self.store.read_only()
    }

    fn warnings(&self) -> Vec<String> {
        self.store.warnings()
    }

    for_each_operation!(marked![]);
}
