//! Faults of recording hits.

use super::{Fault, Sound};
use crate::sqlite::execute;
use mneme::store::{BackendError, Result, StoreError, Touch};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Records other hits than it was given.
pub struct Touches(pub fn(&[Touch]) -> Vec<Touch>);

impl Fault for Touches {
    fn update_access(&mut self, store: &mut Sound, touches: &[Touch]) -> Result<()> {
        store.update_access(&(self.0)(touches))
    }
}

/// The last touch of each id alone.
pub fn last_of_each(touches: &[Touch]) -> Vec<Touch> {
    let last: BTreeMap<u64, &Touch> = touches.iter().map(|touch| (touch.id, touch)).collect();
    last.into_values().cloned().collect()
}

/// Sets the last access to whatever it is given. On SQLite only.
pub struct MovesBack(pub PathBuf);

impl Fault for MovesBack {
    fn update_access(&mut self, store: &mut Sound, touches: &[Touch]) -> Result<()> {
        store.update_access(touches)?;
        for touch in touches {
            let sql = format!(
                "UPDATE entries SET last_accessed_at = {} WHERE id = {}",
                touch.last_accessed_at, touch.id
            );
            execute(&self.0, &sql);
        }
        Ok(())
    }
}

/// Sets the access count to the hits it is given. On SQLite only.
pub struct SetsCount(pub PathBuf);

impl Fault for SetsCount {
    fn update_access(&mut self, store: &mut Sound, touches: &[Touch]) -> Result<()> {
        store.update_access(touches)?;
        for touch in touches {
            let sql = format!(
                "UPDATE entries SET access_count = {} WHERE id = {}",
                touch.hits, touch.id
            );
            execute(&self.0, &sql);
        }
        Ok(())
    }
}

/// Refuses to touch what is gone.
pub struct RefusesUnknown;

impl Fault for RefusesUnknown {
    fn update_access(&mut self, store: &mut Sound, touches: &[Touch]) -> Result<()> {
        for touch in touches {
            if store.get_by_ids(&[touch.id])?.is_empty() {
                return Err(StoreError::Backend(BackendError {
                    message: format!("no entry has the id {}", touch.id),
                    retryable: false,
                }));
            }
        }
        store.update_access(touches)
    }
}
