//! Faults of recording hits.

use super::{Fault, Known, memory, sqlite};
use crate::sqlite::execute;
use mneme::store::{BackendError, StoreError, Touch};
use std::collections::BTreeMap;

impl Fault {
    /// Changes each touch.
    fn touches(self, change: fn(&mut Touch)) -> Self {
        self.update_access(move |store, touches| {
            let mut touches = touches.to_vec();
            touches.iter_mut().for_each(change);
            store.update_access(&touches)
        })
    }

    /// Sets a column of the SQLite file to what each touch says.
    fn sets_column(self, column: &'static str, value: fn(&Touch) -> u64) -> Self {
        self.update_access(move |store, touches| {
            store.update_access(touches)?;
            for touch in touches {
                let (value, id) = (value(touch), touch.id);
                let sql = format!("UPDATE entries SET {column} = {value} WHERE id = {id}");
                execute(store.path, &sql);
            }
            Ok(())
        })
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("a touch does not count")
            .caught_by("a-touch-changes-the-access-fields-only")
            .touches(|touch| touch.hits = 0),
        memory("a touch counts one hit")
            .caught_by("a-touch-changes-the-access-fields-only")
            .touches(|touch| touch.hits = 1),
        memory("a touch does not move the last access")
            .caught_by("a-touch-changes-the-access-fields-only")
            .touches(|touch| touch.last_accessed_at = 0),
        memory("of several touches of one id the last counts")
            .caught_by("an-id-may-be-touched-twice-in-a-list")
            .update_access(|store, touches| {
                let by_id = touches.iter().map(|touch| (touch.id, *touch));
                let last: BTreeMap<u64, Touch> = by_id.collect();
                store.update_access(&last.into_values().collect::<Vec<_>>())
            }),
        memory("of several touches the first counts")
            .caught_by("many-touches-can-come-at-once")
            .update_access(|store, touches| store.update_access(&touches[..touches.len().min(1)])),
        sqlite("a touch moves the last access back")
            .caught_by("a-touch-never-moves-the-time-back")
            .sets_column("last_accessed_at", |touch| touch.last_accessed_at),
        sqlite("a touch sets the access count")
            .caught_by("an-old-touch-still-counts-its-hits")
            .sets_column("access_count", |touch| touch.hits.into()),
        memory("a touch of what is gone fails")
            .caught_by("touches-of-unknown-ids-are-passed-over")
            .update_access(|store, touches| {
                for touch in touches {
                    if store.get_by_ids(&[touch.id], true)?.is_empty() {
                        return Err(StoreError::Backend(BackendError {
                            message: format!("no entry has the id {}", touch.id),
                            retryable: false,
                        }));
                    }
                }
                store.update_access(touches)
            }),
    ]
}
