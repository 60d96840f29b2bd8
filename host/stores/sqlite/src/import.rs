//! Taking in many entries at once: they wait in a private database beside the cache's own,
//! and are copied in one transaction.

use rusqlite::Connection;
use tempfile::NamedTempFile;

use super::bounds::size_of;
use super::changes::Did;
use super::connection::connect_private;
use super::error::Outcome;
use super::private;
use super::session::Session;
use super::{layout, reads, rows, writes};
use mneme_store::staged::Staged;
use mneme_store::{Entry, ImportMode, MetaChange, checks};

/// One connection writes it in one transaction, which never ends: what is left of the file
/// after a crash is of no use to anybody.
const STAGE: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -32768;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    namespace, query_hash, query, response, embedding, metadata,
    created_at, last_accessed_at, ttl, access_count, context, tags,
    UNIQUE(namespace, query_hash)
);
BEGIN;
";

/// Entries received, and not yet part of the data.
#[derive(Debug)]
pub(super) struct Import {
    mode: ImportMode,
    /// In table `entries`, the ids in the order of writing.
    stage: Connection,
    /// After the connection, which has it open.
    _file: Staged<NamedTempFile>,
}

impl Import {
    fn add(&self, entries: &[Entry]) -> Outcome<()> {
        let mut blob = Vec::new();
        for entry in entries {
            if !writes::insert_new(&self.stage, entry, &mut blob)? {
                return Err(checks::imported_twice(entry).into());
            }
        }
        Ok(())
    }

    /// Whether it put any entry into the cache.
    fn copy(&self, to: &Connection, dim: u32) -> Outcome<bool> {
        let mut query = self.stage.prepare_cached(reads::ALL)?;
        let mut found = query.query([])?;
        let mut blob = Vec::new();
        let mut some = false;
        while let Some(row) = found.next()? {
            writes::insert_one(to, &rows::entry(row, Some(dim))?, &mut blob)?;
            some = true;
        }
        Ok(some)
    }
}

impl Session {
    pub fn begin_import(&mut self, mode: ImportMode) -> Outcome<()> {
        self.import = None;
        self.could_write()?;
        accept(mode, self.conn()?)?;
        let file = self.private_file(private::IMPORT)?;
        let (stage, _) = connect_private(file.path(), size_of(file.path()))?;
        stage.execute_batch(STAGE)?;
        self.import = Some(Import {
            mode,
            stage,
            _file: file,
        });
        Ok(())
    }

    pub fn write_import(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        let import = self.import.take().ok_or_else(checks::import_not_begun)?;
        import.add(&entries)?;
        self.import = Some(import);
        Ok(())
    }

    pub fn commit_import(
        &mut self,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        let import = self.import.take().ok_or_else(checks::import_not_begun)?;
        let dim = self.embedder.dim;
        let copy = |conn: &Connection| {
            accept(import.mode, conn)?;
            let replace = import.mode == ImportMode::Replace;
            if !replace && !as_expected(conn, meta)? {
                return Ok(None);
            }
            let deleted = replace && writes::clear_all(conn)?;
            let added = import.copy(conn, dim)?;
            for (namespace, quota) in quotas {
                writes::set_quota(conn, namespace, *quota)?;
            }
            for change in meta {
                writes::set_meta(conn, &change.key, &change.value)?;
            }
            Ok(Some(deleted || added))
        };
        let done = self.taking_its_time(|session| {
            session.write_entries(copy, |changed| match changed {
                Some(true) => Did::Much,
                _ => Did::Nothing,
            })
        })?;
        if done.is_none() {
            self.import = Some(import);
        }
        Ok(done.is_some())
    }

    pub fn end_import(&mut self) -> Outcome<()> {
        self.import = None;
        Ok(())
    }
}

fn accept(mode: ImportMode, conn: &Connection) -> Outcome<()> {
    if mode == ImportMode::Empty && layout::has_entries(conn)? {
        return Err(checks::import_not_empty().into());
    }
    Ok(())
}

fn as_expected(conn: &Connection, meta: &[MetaChange]) -> Outcome<bool> {
    for change in meta {
        if layout::meta(conn, &change.key)? != change.expected {
            return Ok(false);
        }
    }
    Ok(true)
}
