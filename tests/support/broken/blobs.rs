//! Faults of blobs by themselves.

pub mod beside;

use super::{Fault, Known, changed, memory, sqlite};
use mneme::store::{Result, StoreError};
use std::collections::BTreeSet;
use std::slice::from_ref;

impl Fault {
    /// Has no blobs.
    pub(super) fn without_blobs(self) -> Self {
        fn unsupported<T>() -> Result<T> {
            Err(StoreError::Unsupported("there are no blobs".into()))
        }
        self.read_blob(|_, _| unsupported())
            .write_blob(|_, _, _| unsupported())
            .delete_blobs(|_, _| unsupported())
            .list_blobs(|_| unsupported())
    }

    /// Changes blobs on their way in.
    fn writes(self, change: fn(&mut Vec<u8>)) -> Self {
        self.write_blob(move |store, name, mut bytes| {
            change(&mut bytes);
            store.write_blob(name, bytes)
        })
    }

    /// Names blobs by other rules.
    fn names_blobs(self, rule: fn(&str) -> String) -> Self {
        self.read_blob(move |store, name| store.read_blob(&rule(name)))
            .write_blob(move |store, name, bytes| store.write_blob(&rule(name), bytes))
            .delete_blobs(move |store, names| {
                let names: Vec<String> = names.iter().map(|name| rule(name)).collect();
                store.delete_blobs(&names)
            })
    }
}

/// Of the bytes and their number.
pub fn bytes() -> Vec<Known> {
    faults![
        memory("an empty blob is not stored")
            .caught_by("an-empty-blob-comes-back")
            .write_blob(|store, name, bytes| match bytes.is_empty() {
                true => store.delete_blobs(&[name.to_owned()]),
                false => store.write_blob(name, bytes),
            }),
        memory("a missing blob is an empty one")
            .caught_by("a-missing-blob-is-none")
            .read_blob(|store, name| Ok(Some(store.read_blob(name)?.unwrap_or_default()))),
        memory("a blob ends at U+0000")
            .caught_by("a-blob-holds-any-bytes")
            .writes(|bytes| {
                let end = bytes.iter().position(|byte| *byte == 0);
                bytes.truncate(end.unwrap_or(bytes.len()));
            }),
        memory("a blob is kept as text")
            .caught_by("a-blob-holds-any-bytes")
            .writes(|bytes| *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes()),
        memory("white space around a blob is lost")
            .caught_by("a-blob-holds-any-bytes")
            .writes(|bytes| *bytes = bytes.trim_ascii().to_vec()),
        memory("a blob is cut at 64 KiB")
            .caught_by("a-blob-of-max-blob-comes-back")
            .writes(|bytes| bytes.truncate(65_536)),
        memory("larger blobs are promised than are taken")
            .caught_by("a-blob-of-max-blob-comes-back")
            .write_blob(|store, name, bytes| match bytes.len() > 1 << 19 {
                true => Err(StoreError::InvalidArgument("the blob is too large".into())),
                false => store.write_blob(name, bytes),
            }),
        memory("more than 1 MiB a blob is promised")
            .caught_by("a-blob-may-have-enough-bytes-or-none")
            .capabilities(|_, says| says.max_blob *= 2),
        memory("a blob of any size is taken")
            .caught_by("too-large-a-blob-is-refused")
            .capabilities(|_, says| says.max_blob = 65_536),
        memory("too large a blob is cut")
            .caught_by("too-large-a-blob-is-refused")
            .write_blob(|store, name, mut bytes| {
                bytes.truncate(store.capabilities().max_blob as usize);
                store.write_blob(name, bytes)
            }),
        memory("too large a blob takes the present one along")
            .caught_by("too-large-a-blob-is-refused")
            .write_blob(|store, name, bytes| {
                let written = store.write_blob(name, bytes);
                if written.is_err() && store.read_blob(name).is_ok() {
                    store.delete_blobs(&[name.to_owned()])?;
                }
                written
            }),
        memory("a shorter blob keeps the end of the one before")
            .caught_by("a-blob-is-replaced")
            .write_blob(|store, name, mut bytes| {
                if let Some(old) = store.read_blob(name)? {
                    bytes.extend(old.into_iter().skip(bytes.len()));
                }
                store.write_blob(name, bytes)
            }),
        memory("a blob is not replaced")
            .caught_by("a-blob-is-replaced")
            .write_blob(|store, name, bytes| match store.read_blob(name)? {
                Some(_) => Ok(()),
                None => store.write_blob(name, bytes),
            }),
        memory("a blob is read once")
            .caught_by("a-blob-comes-back")
            .read_blob(|store, name| {
                let bytes = store.read_blob(name)?;
                store.delete_blobs(&[name.to_owned()])?;
                Ok(bytes)
            }),
        memory("a deleted blob cannot be written again")
            .caught_by("a-deleted-blob-can-be-written-again")
            .keeping::<BTreeSet<String>>()
            .write_blob(|store, name, bytes| {
                store.write_blob(name, bytes)?;
                if store.kept.contains(name) {
                    store.delete_blobs(&[name.to_owned()])?;
                }
                Ok(())
            })
            .delete_blobs(|store, names| {
                store.delete_blobs(names)?;
                store.kept.extend(names.iter().cloned());
                Ok(())
            }),
    ]
}

/// Of names, lists and deletes.
pub fn names() -> Vec<Known> {
    faults![
        memory("slashes and dots in names of blobs are the same")
            .caught_by("names-of-blobs-are-exact")
            .names_blobs(|name| name.replace('/', ".")),
        memory("long names of blobs are cut")
            .caught_by("names-of-blobs-are-exact")
            .names_blobs(|name| name.chars().take(99).collect()),
        memory("any name of a blob is made to fit")
            .caught_by("what-is-no-name-of-a-blob-is-refused")
            .names_blobs(str::to_ascii_lowercase),
        memory("a blob is found by the beginning of its name")
            .caught_by("a-missing-blob-is-none")
            .read_blob(|store, name| {
                if let Some(bytes) = store.read_blob(name)? {
                    return Ok(Some(bytes));
                }
                let names = store.list_blobs()?;
                match names.iter().find(|other| other.starts_with(name)) {
                    Some(other) => store.read_blob(other),
                    None => Ok(None),
                }
            }),
        memory("an invalid blob name reads as a missing blob")
            .caught_by("what-is-no-name-of-a-blob-is-refused")
            .read_blob(|store, name| match store.read_blob(name) {
                Err(StoreError::InvalidArgument(_)) => Ok(None),
                outcome => outcome,
            }),
        memory("invalid blob names are ignored")
            .caught_by("what-is-no-name-of-a-blob-is-refused")
            .delete_blobs(|store, names| {
                for name in names {
                    match store.delete_blobs(from_ref(name)) {
                        Err(StoreError::InvalidArgument(_)) => {}
                        outcome => outcome?,
                    }
                }
                store.delete_blobs(&[])
            }),
        memory("blobs are deleted up to the first invalid name")
            .caught_by("what-is-no-name-of-a-blob-is-refused")
            .delete_blobs(|store, names| {
                store.delete_blobs(&[])?;
                let mut names = names.iter();
                names.try_for_each(|name| store.delete_blobs(from_ref(name)))
            }),
        memory("deleting one blob deletes all")
            .caught_by("blobs-are-deleted")
            .delete_blobs(|store, names| {
                store.delete_blobs(names)?;
                let all = store.list_blobs()?;
                store.delete_blobs(&all)
            }),
        memory("blobs are deleted by the beginning of their names")
            .caught_by("blobs-are-deleted")
            .delete_blobs(|store, names| {
                let mut all = store.list_blobs()?;
                all.retain(|other| names.iter().any(|name| other.starts_with(name)));
                store.delete_blobs(names)?;
                store.delete_blobs(&all)
            }),
        memory("deleting blobs does nothing")
            .caught_by("blobs-are-deleted")
            .delete_blobs(|store, _| store.delete_blobs(&[])),
        memory("a hundred blobs are deleted at most")
            .caught_by("many-blobs-are-listed")
            .delete_blobs(|store, names| store.delete_blobs(&names[..names.len().min(100)])),
        memory("blobs are deleted up to one that is not there")
            .caught_by("unknown-blobs-are-passed-over")
            .delete_blobs(|store, names| {
                store.delete_blobs(&[])?;
                for name in names {
                    if store.read_blob(name)?.is_none() {
                        break;
                    }
                    store.delete_blobs(from_ref(name))?;
                }
                Ok(())
            }),
        memory("deleting a blob that is not there is an error")
            .caught_by("unknown-blobs-are-passed-over")
            .delete_blobs(|store, names| {
                for name in names {
                    if store.read_blob(name)?.is_none() {
                        return Err(StoreError::InvalidArgument("there is no such blob".into()));
                    }
                }
                store.delete_blobs(names)
            }),
        memory("deleted blobs are listed")
            .caught_by("blobs-are-deleted")
            .keeping::<BTreeSet<String>>()
            .write_blob(|store, name, bytes| {
                store.write_blob(name, bytes)?;
                store.kept.insert(name.to_owned());
                Ok(())
            })
            .list_blobs(|store| {
                store.kept.extend(store.sound.list_blobs()?);
                Ok(store.kept.iter().cloned().collect())
            }),
        memory("blobs are listed backwards")
            .caught_by("blobs-are-listed-by-bytes")
            .list_blobs(|store| changed(store.list_blobs(), |names| names.reverse())),
        memory("a hundred blobs are listed at most")
            .caught_by("many-blobs-are-listed")
            .list_blobs(|store| changed(store.list_blobs(), |names| names.truncate(100))),
    ]
}

/// Of what a store says of its blobs.
pub fn claims() -> Vec<Known> {
    faults![
        memory("a blob of 64 KiB is too large")
            .caught_by("a-blob-may-have-enough-bytes-or-none")
            .capabilities(|_, says| says.max_blob = 65_535),
        memory("blobs are there and not promised")
            .caught_by("blobs-are-as-the-capabilities-say")
            .capabilities(|_, says| says.max_blob = 0),
        sqlite("blobs that last are there and not promised")
            .caught_by("blobs-survive-a-drop")
            .capabilities(|_, says| says.max_blob = 0),
        memory("blobs are promised and not there")
            .caught_by("blobs-are-as-the-capabilities-say")
            .without_blobs(),
        memory("blobs cannot be listed")
            .caught_by("blobs-are-as-the-capabilities-say")
            .list_blobs(|store| {
                store.list_blobs()?;
                Err(StoreError::Unsupported("blobs are not listed".into()))
            }),
    ]
}
