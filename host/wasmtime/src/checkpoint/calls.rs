//! Calls of a component that write or read an archive.

use super::archive::Archive;
use super::options::DumpOptions;
use crate::component::Instance;
use crate::contract::checkpoint::{self as api, DumpReport, LoadReport};
use crate::error::{Error, Result};
use std::io::Write;

/// Dumps, and gives back what was written to.
pub(super) fn dump<W: Write + Send + 'static>(
    instance: &mut Instance,
    archive: W,
    options: DumpOptions,
) -> Result<(DumpReport, W)> {
    let archive = Archive::writing(archive, options.watch);
    let (report, archive) = instance.call_with(archive, |guest, store| {
        guest.call_dump(store, options.choice)
    });
    let report = report?;
    let lost = || Error::Component("the archive was lost, which is a bug in mneme".into());
    let mut archive = archive.ok_or_else(lost)?;
    archive.flush()?;
    let writer = archive.into_parts().0.ok_or_else(lost)?;
    Ok((report, writer))
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
