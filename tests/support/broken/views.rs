//! Faults of views.

use super::{Fault, Sound, all};
use mneme::store::{Entry, Result, StoreError};

/// Begins or ends a view in another way.
pub struct Steps {
    /// Instead of beginning.
    pub begin: fn(&mut Sound) -> Result<bool>,
    /// Instead of ending.
    pub end: fn(&mut Sound) -> Result<()>,
}

impl Fault for Steps {
    fn begin_view(&mut self, store: &mut Sound) -> Result<bool> {
        (self.begin)(store)
    }

    fn end_view(&mut self, store: &mut Sound) -> Result<()> {
        (self.end)(store)
    }
}

/// Refuses to begin a view in a view, or to end one that was not begun.
pub struct Strict {
    /// Whether it is the beginning that is refused.
    pub beginning: bool,
    /// Whether there is a view.
    pub begun: bool,
}

impl Fault for Strict {
    fn begin_view(&mut self, store: &mut Sound) -> Result<bool> {
        if self.beginning && self.begun {
            return Err(StoreError::InvalidArgument("there is a view".into()));
        }
        self.begun = true;
        store.begin_view()
    }

    fn end_view(&mut self, store: &mut Sound) -> Result<()> {
        if !self.beginning && !self.begun {
            return Err(StoreError::InvalidArgument("there is no view".into()));
        }
        self.begun = false;
        store.end_view()
    }
}

/// Counts what was there when a view began, and does not end it when it is closed.
#[derive(Default)]
pub struct OutlivesClose {
    rows: Option<Vec<Entry>>,
}

impl Fault for OutlivesClose {
    fn begin_view(&mut self, store: &mut Sound) -> Result<bool> {
        self.rows = Some(all(store)?);
        store.begin_view()
    }

    fn end_view(&mut self, store: &mut Sound) -> Result<()> {
        store.end_view()?;
        self.rows = None;
        Ok(())
    }

    fn count(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let present = store.count(namespace)?;
        Ok(self.rows.as_ref().map_or(present, |rows| {
            let counted = |e: &&Entry| namespace.is_none_or(|name| name == e.namespace);
            rows.iter().filter(counted).count() as u64
        }))
    }
}
