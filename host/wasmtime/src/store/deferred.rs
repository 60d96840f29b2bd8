//! A store that creates its cache with the first write.

use std::time::Duration;

use super::{CapabilitySet, MemoryStore, Result, Store};
use mneme_store::checks::Embedder;
use mneme_store::for_each_operation;

/// Opens the cache that is there. Where there is none, an empty one in memory stands in for it until
/// there is something to keep: entries, a quota or an archive.
pub(super) struct Deferred {
    store: Box<dyn Store>,
    /// Open, with the embedder to create the cache for.
    stand_in: Option<(MemoryStore, Embedder)>,
}

impl Deferred {
    pub fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            stand_in: None,
        }
    }

    fn begin(&mut self, fingerprint: &str, dim: u32) -> Result<()> {
        self.stand_in = None;
        if self.store.recorded_embedder()?.is_some() {
            return self.store.open(fingerprint, dim);
        }
        let mut empty = MemoryStore::new();
        empty.open(fingerprint, dim)?;
        self.stand_in = Some((empty, Embedder::given(fingerprint, dim)?));
        Ok(())
    }

    /// What answers for the cache.
    fn present(&mut self) -> &mut dyn Store {
        match &mut self.stand_in {
            Some((empty, _)) => empty,
            None => &mut *self.store,
        }
    }

    /// The cache, which is created if there is none.
    fn created(&mut self) -> Result<&mut dyn Store> {
        if let Some((_, embedder)) = &self.stand_in {
            self.store.open(&embedder.fingerprint, embedder.dim)?;
            self.stand_in = None;
        }
        Ok(&mut *self.store)
    }
}

macro_rules! passed_on {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            passed_to!(self, $name($($arg),*))
        })*
    };
}

macro_rules! passed_to {
    ($store:expr, open($($arg:ident),*)) => {
        $store.begin($($arg),*)
    };
    ($store:expr, insert($($arg:ident),*)) => {
        $store.created()?.insert($($arg),*)
    };
    ($store:expr, set_namespace_quota($($arg:ident),*)) => {
        $store.created()?.set_namespace_quota($($arg),*)
    };
    ($store:expr, begin_import($($arg:ident),*)) => {
        $store.created()?.begin_import($($arg),*)
    };
    ($store:expr, begin_restore($($arg:ident),*)) => {
        $store.created()?.begin_restore($($arg),*)
    };
    ($store:expr, $name:ident($($arg:ident),*)) => {
        $store.present().$name($($arg),*)
    };
}

#[deny(clippy::missing_trait_methods)]
impl Store for Deferred {
    fn capabilities(&self) -> CapabilitySet {
        self.store.capabilities()
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.store.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<Duration>> {
        // Also where there is no cache yet: a wrong clock creates none.
        self.store.server_time()
    }

    fn read_only(&self) -> Option<String> {
        match self.stand_in {
            Some(_) => None,
            None => self.store.read_only(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        match self.stand_in {
            Some(_) => Vec::new(),
            None => self.store.warnings(),
        }
    }

    for_each_operation!(passed_on![]);
}
