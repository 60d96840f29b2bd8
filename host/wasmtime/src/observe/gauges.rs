//! Gauges: the present state of a cache, read on request.

use crate::contract::trust::BoundReport;
use crate::error::{Error, Result};
use std::sync::{Arc, Weak};

/// A cache, as far as it can be measured.
pub(crate) trait Measured: Send + Sync {
    fn is_closed(&self) -> bool;
    fn memory_bytes(&self) -> Result<u64>;
    fn read(&self) -> Result<Reading>;
    fn bounds(&self) -> Result<Vec<(String, BoundReport)>>;
}

/// Reads the gauges of a cache, which it does not keep open. Cloning gives another handle.
#[derive(Clone)]
pub struct Gauges {
    cache: Weak<dyn Measured>,
}

/// The gauges of a cache, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Entries in the store, by namespace. Those of namespaces that `stats` does not list, where there
    /// are more than 65,536, are summed under the empty name.
    pub entries: Vec<(String, u64)>,
    /// Rows of the index in memory.
    pub index_rows: u64,
    /// The bytes of memory that the component has, index included.
    pub memory_bytes: u64,
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauges")
    }
}

impl Gauges {
    pub(crate) fn of(cache: &Arc<dyn Measured>) -> Self {
        Gauges {
            cache: Arc::downgrade(cache),
        }
    }

    /// Reads them, which asks the store; where counting takes 5 ms or more, not before ten times as
    /// long have passed. None if the cache is closed. It waits for the calls that are under way, and
    /// is not counted as one.
    ///
    /// # Errors
    ///
    /// What the store returns; [`Error::InvalidArgument`] from
    /// within a call of the cache.
    pub fn read(&self) -> Result<Option<Reading>> {
        match self.open().map(|cache| cache.read()).transpose() {
            // It was closed meanwhile.
            Err(Error::Closed) => Ok(None),
            read => read,
        }
    }

    /// The bytes of memory that the component has, index included, without asking the store.
    /// None if the cache is closed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] from within a call of the cache.
    pub fn memory_bytes(&self) -> Result<Option<u64>> {
        self.open().map(|cache| cache.memory_bytes()).transpose()
    }

    /// What labels say of each namespace, without asking the store: see
    /// [`SemanticCache::bounds`](crate::SemanticCache::bounds). Empty if the cache is closed, and without an
    /// error bound.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] from within a call of the cache.
    pub fn bounds(&self) -> Result<Vec<(String, BoundReport)>> {
        let bounds = self.open().map(|cache| cache.bounds()).transpose()?;
        Ok(bounds.unwrap_or_default())
    }

    /// Whether all handles of the cache were dropped.
    #[cfg(any(feature = "opentelemetry", feature = "prometheus"))]
    pub(super) fn is_gone(&self) -> bool {
        self.cache.strong_count() == 0
    }

    fn open(&self) -> Option<Arc<dyn Measured>> {
        self.cache.upgrade().filter(|cache| !cache.is_closed())
    }
}
