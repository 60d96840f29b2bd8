//! Faults of deleting.

use super::{Known, all_of, memory, reference};
use mneme::store::{Entry, EntryRef};

/// Whether an entry's lifetime is over.
fn expired(entry: &Entry, ttl: u64, now: u64) -> bool {
    let end = entry.created_at.checked_add(ttl);
    end.is_some_and(|end| end <= now)
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("an entry expires a second late")
            .caught_by("an-entry-expires-at-created-at-plus-ttl")
            .delete_expired(|store, now, namespace, limit| {
                store.delete_expired(now.saturating_sub(1), namespace, limit)
            }),
        memory("an entry expires a second early")
            .caught_by("an-entry-expires-at-created-at-plus-ttl")
            .delete_expired(|store, now, namespace, limit| {
                store.delete_expired(now.saturating_add(1), namespace, limit)
            }),
        memory("delete-expired ignores the namespace")
            .caught_by("expiry-keeps-to-its-namespace")
            .delete_expired(|store, now, _, limit| store.delete_expired(now, None, limit)),
        memory("delete-expired ignores the limit")
            .caught_by("expiry-keeps-to-its-limit")
            .delete_expired(|store, now, namespace, _| {
                store.delete_expired(now, namespace, u32::MAX)
            }),
        memory("delete-expired stops before its limit")
            .caught_by("expiry-keeps-to-its-limit")
            .delete_expired(|store, now, namespace, limit| {
                store.delete_expired(now, namespace, limit.div_ceil(2))
            }),
        memory("delete-expired deletes what has no lifetime")
            .caught_by("an-entry-without-a-ttl-never-expires")
            .delete_expired(|store, now, namespace, limit| {
                let mut gone = all_of(store.sound, namespace)?;
                gone.retain(|entry| entry.ttl.is_none_or(|ttl| expired(entry, ttl, now)));
                gone.truncate(limit as usize);
                let gone: Vec<EntryRef> = gone.iter().map(reference).collect();
                store.delete_unchanged(&gone)?;
                Ok(gone)
            }),
        memory("delete-expired does not tell what it deleted")
            .caught_by("expired-entries-are-returned-as-versions")
            .delete_expired(|store, now, namespace, limit| {
                store.delete_expired(now, namespace, limit)?;
                Ok(Vec::new())
            }),
        memory("delete-unchanged deletes what was replaced")
            .caught_by("a-replaced-entry-stays")
            .delete_unchanged(|store, entries| {
                let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
                let present: Vec<_> = store
                    .get_by_ids(&ids, true)?
                    .iter()
                    .map(reference)
                    .collect();
                store.delete_unchanged(&present)
            }),
        memory("delete-unchanged deletes what is older than named")
            .caught_by("earlier-and-later-versions-are-told-apart")
            .delete_unchanged(|store, entries| {
                let mut older = Vec::new();
                for named in entries {
                    let mut found = store.get_by_ids(&[named.id], true)?;
                    found.retain(|entry| entry.created_at <= named.created_at);
                    older.extend(found.iter().map(reference));
                }
                store.delete_unchanged(&older)
            }),
        memory("delete-unchanged says that it deleted everything")
            .caught_by("unknown-entries-are-left-out")
            .delete_unchanged(|store, entries| {
                store.delete_unchanged(entries)?;
                Ok(entries.iter().map(|entry| entry.id).collect())
            }),
        memory("delete-unchanged says that it deleted nothing")
            .caught_by("unchanged-entries-are-deleted")
            .delete_unchanged(|store, entries| {
                store.delete_unchanged(entries)?;
                Ok(Vec::new())
            }),
        memory("delete-by-id says that it deleted what was not there")
            .caught_by("deleting-unknown-ids-is-false")
            .delete_by_id(|store, id| store.delete_by_id(id).map(|_| true)),
        memory("delete-by-id says that it deleted nothing")
            .caught_by("deleting-tells-whether-it-was-there")
            .delete_by_id(|store, id| store.delete_by_id(id).map(|_| false)),
        memory("delete-by-id deletes nothing")
            .caught_by("a-deleted-entry-is-gone-everywhere")
            .delete_by_id(|store, id| Ok(!store.get_by_ids(&[id], true)?.is_empty())),
        memory("clear-namespace removes the quota")
            .caught_by("clearing-leaves-quotas-and-meta")
            .clear_namespace(|store, namespace| {
                for (name, _) in store.list_namespace_quotas()? {
                    if namespace.is_none_or(|namespace| namespace == name) {
                        store.set_namespace_quota(&name, None)?;
                    }
                }
                store.clear_namespace(namespace)
            }),
        memory("clear-namespace clears every namespace")
            .caught_by("clearing-leaves-other-namespaces")
            .clear_namespace(|store, _| store.clear_namespace(None)),
        memory("clear-namespace of all clears nothing")
            .caught_by("clearing-all-leaves-nothing")
            .clear_namespace(|store, namespace| match namespace {
                Some(_) => store.clear_namespace(namespace),
                None => store.count(None),
            }),
        memory("clear-namespace does not count what it cleared")
            .caught_by("clearing-tells-how-many")
            .clear_namespace(|store, namespace| store.clear_namespace(namespace).map(|_| 0)),
    ]
}
