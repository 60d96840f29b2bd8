//! Calls of a component that write or read an archive.

use super::archive::{Archive, Watch};
use super::keeping::Keeping;
use super::options::DumpOptions;
#[cfg(feature = "sqlite")]
use super::scratch::Scratch;
use crate::cache::SemanticCache;
use crate::component::{Engine, Instance, call_alone};
use crate::contract::checkpoint::{self as api, DumpReport, LoadReport, Summary};
use crate::error::{Error, Result};
use crate::imports::State;
use mneme_store::locks;
use std::cell::RefCell;
use std::io::{Read, Write};

/// Dumps, and gives back what was written to, and whoever watches.
pub(super) fn dump<W: Write + Send + 'static>(
    instance: &mut Instance,
    archive: W,
    options: DumpOptions,
) -> Result<(DumpReport, W, Option<Watch>)> {
    let archive = Archive::writing(archive, options.watch);
    let (report, archive) = instance.call_with(archive, |guest, store| {
        guest.call_dump(store, options.choice)
    });
    let report = report?;
    let mut archive = archive.ok_or_else(lost)?;
    archive.flush()?;
    let (writer, watch) = archive.into_parts();
    Ok((report, writer.ok_or_else(lost)?, watch))
}

pub(super) fn lost() -> Error {
    Error::Component("the archive was lost, which is a bug in mneme".into())
}

/// Loads in a turn. While the store finds its data locked before anything is begun, others have
/// theirs. Gives back what was read from, at its beginning, and whoever watches, if that is possible.
#[expect(clippy::type_complexity, reason = "it is a pair of parts")]
pub(super) fn load_in_turns<R: Read + Send + 'static>(
    cache: &SemanticCache,
    archive: R,
    watch: Option<Watch>,
    options: &api::LoadOptions,
) -> (Result<LoadReport>, Option<(Keeping<R>, Option<Watch>)>) {
    let archive = RefCell::new(Some((Keeping::new(archive), watch)));
    if let Err(error) = cache.lanes().gather_counts() {
        return (Err(error), archive.into_inner());
    }
    let report = cache.in_turn(|instance| {
        // A turn is repeated only where it was put back.
        let (reader, watch) = archive.take().ok_or_else(lost)?;
        let (report, back) = load(instance, Archive::reading(reader, watch), options);
        let parts = back.map(Archive::into_parts::<Keeping<R>>);
        let restarted = parts.and_then(|(reader, watch)| Some((reader?.restarted()?, watch)));
        if restarted.is_none() {
            locks::stay();
        }
        *archive.borrow_mut() = restarted;
        report
    });
    let report = report.and_then(|report| {
        cache.lanes().begin_again()?;
        Ok(report)
    });
    (report, archive.into_inner())
}

/// Loads, and gives back what was read from.
pub(super) fn load(
    instance: &mut Instance,
    archive: Archive,
    options: &api::LoadOptions,
) -> (Result<LoadReport>, Option<Archive>) {
    let (report, archive) =
        instance.call_with(archive, |guest, store| guest.call_load(store, options));
    if report.is_ok() {
        // A component that takes over later goes on with them.
        let now = &mut instance.options;
        now.max_entries = options.max_entries.or(now.max_entries);
        now.vector_dtype = options.vector_dtype.unwrap_or(now.vector_dtype);
    }
    (report, archive)
}

/// Inspects, in a component that ends with the call and gives its memory back. Gives back what was
/// read from.
pub(super) fn inspect(
    engine: &Engine,
    archive: Archive,
    options: api::InspectOptions,
) -> (Result<Summary>, Option<Archive>) {
    #[cfg(feature = "sqlite")]
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return (Err(error), Some(archive)),
    };
    #[cfg(feature = "sqlite")]
    let store = scratch.store();
    #[cfg(not(feature = "sqlite"))]
    let store = crate::store::MemoryStore::new();
    let (summary, archive) = call_alone(engine, State::alone(store), archive, |guest, store| {
        guest.call_inspect(store, options)
    });
    #[cfg(feature = "sqlite")]
    let summary = summary.map_err(|error| scratch.unnamed(error));
    (summary, archive)
}
