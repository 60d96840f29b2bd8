//! Faults of views.

use super::{Known, all, memory, sqlite};
use mneme::store::{Entry, StoreError};

pub fn faults() -> Vec<Known> {
    faults![
        memory("begin-view is unsupported")
            .caught_by("a-view-shows-the-data")
            .begin_view(|_| Err(StoreError::Unsupported("views".into()))),
        memory("end-view fails without a view")
            .caught_by("ending-no-view-is-allowed")
            .keeping::<bool>()
            .begin_view(|store| {
                *store.kept = true;
                store.begin_view()
            })
            .end_view(|store| match std::mem::take(store.kept) {
                true => store.end_view(),
                false => Err(StoreError::InvalidArgument("there is no view".into())),
            }),
        memory("begin-view fails in a view")
            .caught_by("a-new-view-ends-the-one-before")
            .keeping::<bool>()
            .begin_view(|store| match std::mem::replace(store.kept, true) {
                true => Err(StoreError::InvalidArgument("there is a view".into())),
                false => store.begin_view(),
            })
            .end_view(|store| {
                *store.kept = false;
                store.end_view()
            }),
        memory("a view goes on after close and open")
            .caught_by("a-view-does-not-outlive-close")
            .keeping::<Option<Vec<Entry>>>()
            .begin_view(|store| {
                *store.kept = Some(all(store.sound)?);
                store.begin_view()
            })
            .end_view(|store| {
                store.end_view()?;
                *store.kept = None;
                Ok(())
            })
            .count(|store, namespace| {
                let present = store.count(namespace)?;
                Ok(store.kept.as_ref().map_or(present, |rows| {
                    let counted = |e: &&Entry| namespace.is_none_or(|name| name == e.namespace);
                    rows.iter().filter(counted).count() as u64
                }))
            }),
        sqlite("a view is promised and not there")
            .caught_by("a-view-holds-still")
            .begin_view(|_| Ok(true)),
        sqlite("end-view ends nothing")
            .caught_by("an-ended-view-shows-what-was-written")
            .end_view(|_| Ok(())),
    ]
}
