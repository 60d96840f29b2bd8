//! Restores: what was received is read as data that nobody vouches for, and its rows are taken
//! over into tables that this store has made. Those replace the present ones by SQLite's online
//! backup.

use std::io::Write;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension};
use tempfile::NamedTempFile;

use super::bounds::{Bounds, distrust};
use super::connection::{READ, connect, connect_private, in_transaction};
use super::error::{Fault, Outcome};
use super::layout::{self, Found};
use super::schema::{BLOBS, CREATE_BLOBS, OBJECTS, Schema};
use super::session::Session;
use super::snapshot::{finish, step, step_to_the_end};
use super::{private, reads, writes};
use mneme_store::checks::{Embedder, GREATEST, wrong_namespace};
use mneme_store::staged::Staged;
use mneme_store::{Entry, Restored, StoreError};

/// The quotas and meta values of a snapshot may take this many bytes in memory, and a sixteenth of
/// the snapshot, for they are handed over in one piece. An entry of 384 values makes room for the
/// quota of its namespace.
const STATE_BYTES: u64 = 16 << 20;
const STATE_SHARE: u64 = 16;
/// What a quota or a meta value takes besides its texts.
const STATE_ROW: u64 = 64;

/// The greatest id of a snapshot. As many are left for new entries.
const GREATEST_ID: i64 = (GREATEST / 2).cast_signed();

/// A snapshot on its way in. Its file goes with the value.
#[derive(Debug)]
pub(super) enum Restore {
    /// Bytes are still to come.
    Receiving(Staged<NamedTempFile>),
    /// Its rows in tables of our own: sound, and of this embedder.
    Checked(Checked),
}

/// A snapshot that was received and taken over.
#[derive(Debug)]
pub(super) struct Checked {
    tables: Connection,
    bounds: Bounds,
    /// After the connection, which has it open.
    _file: Staged<NamedTempFile>,
}

impl Session {
    pub fn begin_restore(&mut self) -> Outcome<()> {
        self.restore = None;
        self.could_write()?;
        self.restore = Some(Restore::Receiving(self.private_file(private::SNAPSHOT)?));
        Ok(())
    }

    pub fn write_restore(&mut self, bytes: &[u8]) -> Outcome<()> {
        match &mut self.restore {
            None => Err(not_begun()),
            Some(Restore::Checked(..)) => Err(Fault::invalid(
                "the snapshot is checked and therefore complete; begin another restore for other bytes",
            )),
            Some(Restore::Receiving(file)) => match file.write_all(bytes) {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.restore = None;
                    Err(self.disk(&error))
                }
            },
        }
    }

    pub fn check_restore(&mut self) -> Outcome<Restored> {
        let checked = self.checked()?;
        let restored = contents(&checked.tables).map_err(unfit)?;
        self.restore = Some(Restore::Checked(checked));
        Ok(restored)
    }

    pub fn read_restore(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        match &self.restore {
            None => Err(not_begun()),
            Some(Restore::Receiving(_)) => Err(Fault::invalid(
                "the snapshot is not checked yet; call check_restore first",
            )),
            Some(Restore::Checked(checked)) => {
                checked.bounds.begin();
                reads::page(&checked.tables, self.embedder.dim, last_id, limit).map_err(unfit)
            }
        }
    }

    pub fn commit_restore(&mut self, only_if_empty: bool) -> Outcome<()> {
        let Checked { tables, bounds, .. } = &self.checked()?;
        bounds.begin();
        self.accept_writes()?;
        let timeout = self.options.busy_timeout;
        let (live, _) = self.another()?;
        let backup = Backup::new(tables, self.conn_to_replace()?)?;
        // Copies nothing, but takes the write lock, which the backup holds to its end. So
        // nobody can move on what is read here.
        step(&backup, 0, timeout)?;
        if only_if_empty && layout::has_entries(&live)? {
            return Err(not_empty());
        }
        overtake(&live, tables)?;
        step_to_the_end(&backup, timeout)?;
        drop(backup);
        // The log is as long as the file, and the next small write would have to copy it.
        // Where readers are in the way, that is how it will be.
        let _ = live.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.read_version_counter().map(drop)
    }

    pub fn end_restore(&mut self) -> Outcome<()> {
        self.restore = None;
        Ok(())
    }

    /// The snapshot, checked now if it has not been. The restore is over unless it is
    /// put back.
    fn checked(&mut self) -> Outcome<Checked> {
        match self.restore.take() {
            None => Err(not_begun()),
            Some(Restore::Checked(checked)) => Ok(checked),
            Some(Restore::Receiving(mut file)) => {
                let size = finish(file.as_file_mut()).map_err(|error| self.disk(&error))?;
                self.take_over(file.path(), size).map_err(unfit)
            }
        }
    }

    /// The rows of the `size` bytes received, if they are a sound cache of this embedder.
    fn take_over(&self, path: &Path, size: u64) -> Outcome<Checked> {
        let (received, _) = connect(path, READ, self.options.busy_timeout)?;
        limit_values(&received, size)?;
        let schema = match layout::inspect(&received)? {
            Found::Cache { embedder, schema } => {
                embedder.accept(&self.embedder)?;
                layout::show_labels(&received, &schema)?;
                schema
            }
            Found::New => return Err(reads::no_cache()),
        };
        // SQLite takes the rest of a last page that is cut for zeros.
        let whole = pages(&received)?.saturating_mul(page_size(&received)?);
        if size < whole.unsigned_abs() {
            return Err(Fault::Corrupt("its end is missing".into()));
        }
        reads::check_content(&received, self.embedder.dim)?;
        check_names(&received)?;
        check_state(&received, size)?;

        let file = self.private_file(private::SNAPSHOT)?;
        // All of this is one call, and the copy grows by what the other gives.
        let (tables, bounds) = connect_private(file.path(), move || size)?;
        limit_values(&tables, size)?;
        // A write-ahead log cannot take pages of another size.
        let page_size = page_size(self.conn()?)?;
        tables.execute_batch(&format!("PRAGMA page_size = {page_size}"))?;
        let uri = format!("file:{}?mode=ro", uri_path(path)?);
        tables.execute("ATTACH ?1 AS received", [uri])?;
        distrust(&tables)?;
        in_transaction(&tables, "BEGIN", |tables| {
            copy(tables, &received, &schema, &self.embedder)
        })?;
        tables.execute_batch("DETACH received")?;
        Ok(Checked {
            tables,
            bounds,
            _file: file,
        })
    }
}

/// Refuses values that are longer than the file of `size` bytes that they are in.
fn limit_values(conn: &Connection, size: u64) -> Outcome<()> {
    let longest = i32::try_from(size).unwrap_or(i32::MAX).max(1 << 20);
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest)?;
    Ok(())
}

/// Refuses names that no cache keeps anything under.
fn check_names(received: &Connection) -> Outcome<()> {
    let check = |table: &str, name: &str| match wrong_namespace(name) {
        None => Ok(()),
        Some(what) => {
            let shown: String = name.chars().take(40).collect();
            Err(Fault::Corrupt(format!(
                "table {table}, column namespace holds {shown:?}, which {what}"
            )))
        }
    };
    reads::each_quota(received, |name, _| check("namespace_quotas", &name))?;
    reads::each_namespace(received, |name| check("entries", &name))
}

/// Refuses quotas and meta values that take far more memory than those of a cache.
fn check_state(received: &Connection, size: u64) -> Outcome<()> {
    const STATE: &str = "SELECT
        (SELECT ifnull(sum(?1 + octet_length(namespace)), 0) FROM namespace_quotas) +
        (SELECT ifnull(sum(?1 + octet_length(key) + octet_length(value)), 0) FROM schema_meta)";
    let bytes: u64 = received.query_row(STATE, [STATE_ROW], |row| row.get(0))?;
    let most = STATE_BYTES + size / STATE_SHARE;
    if bytes > most {
        return Err(Fault::Corrupt(format!(
            "its quotas and meta values take {bytes} bytes, and may take {most} in a snapshot of {size}; remove the quotas of namespaces without entries"
        )));
    }
    Ok(())
}

/// Makes the tables, and takes the rows of the database `received` over.
fn copy(
    ours: &Connection,
    received: &Connection,
    theirs: &Schema,
    embedder: &Embedder,
) -> Outcome<()> {
    let tables = OBJECTS
        .iter()
        .filter(|object| object.is_table() && !object.is_derived());
    for object in tables.clone() {
        ours.execute_batch(object.sql)?;
    }
    if theirs.has(BLOBS) {
        ours.execute_batch(CREATE_BLOBS)?;
    }
    let names = tables.map(|object| object.name).chain([BLOBS]);
    for name in names.filter(|name| theirs.has(name)) {
        // Between tables of the same statement SQLite copies rows without taking them apart.
        let rows = match name == "entries" && !theirs.has_labels {
            true => "*, '', '[]'",
            false => "*",
        };
        ours.execute_batch(&format!(
            "INSERT INTO main.{name} SELECT {rows} FROM received.{name}"
        ))?;
    }
    if let Some(last_id) = last_id(received)? {
        raise_last_id(ours, last_id)?;
    }
    if let Some(last) = last_id(ours)?
        && last > GREATEST_ID
    {
        return Err(Fault::Corrupt(format!(
            "its ids go up to {last}, and may go up to {GREATEST_ID}, since new ones are greater; load a portable archive, whose entries get new ids"
        )));
    }
    // With the indexes and the table of tags, which are made of the rows.
    layout::provision(ours, embedder)
}

/// A path in a URI.
fn uri_path(path: &Path) -> Outcome<String> {
    let Some(path) = path.to_str() else {
        return Err(Fault::System(
            "the path is not valid UTF-8; put the cache where it is".into(),
        ));
    };
    let encoded = path.replace('%', "%25").replace('?', "%3F");
    Ok(encoded.replace('#', "%23"))
}

fn not_begun() -> Fault {
    Fault::invalid("no restore was begun, or it is over; call begin_restore first")
}

fn not_empty() -> Fault {
    Fault::Typed(StoreError::Checkpoint(
        "the store has entries, and this restore needs a store without entries; clear the store first, or let it replace them".into(),
    ))
}

/// What a snapshot holds besides its entries.
fn contents(source: &Connection) -> Outcome<Restored> {
    Ok(Restored {
        entries: reads::count(source)?,
        quotas: reads::quotas(source)?,
        meta: reads::meta(source)?,
    })
}

/// What was received is not the live file, and other remedies apply.
fn unfit(fault: Fault) -> Fault {
    let refused = |what: &dyn std::fmt::Display| {
        Fault::Corrupt(format!(
            "the snapshot was refused: {what}; nothing was changed, take another snapshot"
        ))
    };
    match fault {
        Fault::Corrupt(what) => refused(&what),
        Fault::Schema(what) => Fault::Schema(format!(
            "the snapshot was refused: {what}; nothing was changed"
        )),
        fault if fault.is_of_machine() => fault,
        fault if fault.is_interrupted() => {
            refused(&"reading it takes more work than a file of its size can")
        }
        Fault::Sqlite(error) => refused(&error),
        other => other,
    }
}

/// Sets the snapshot's counters above the live ones: whoever watches the version sees
/// it move, and no id is given twice.
fn overtake(live: &Connection, source: &Connection) -> Outcome<()> {
    let version = reads::version(live)?;
    let last_id = last_id(live)?;
    in_transaction(source, "BEGIN IMMEDIATE", |source| {
        source.execute(
            "UPDATE multi_process_state SET value = ?1 WHERE key = 'version_counter'",
            [version.to_string()],
        )?;
        writes::bump_version(source)?;
        match last_id {
            Some(last_id) => raise_last_id(source, last_id),
            None => Ok(()),
        }
    })
}

/// The greatest id that was ever given, if one was.
fn last_id(conn: &Connection) -> Outcome<Option<i64>> {
    const LAST_ID: &str = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = 'entries'";
    let found = conn.query_row(LAST_ID, [], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Has ids go on above one that was given.
fn raise_last_id(conn: &Connection, last_id: i64) -> Outcome<()> {
    let raised = conn.execute(
        "UPDATE main.sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'entries'",
        [last_id],
    )?;
    if raised == 0 {
        conn.execute(
            "INSERT INTO main.sqlite_sequence (name, seq) VALUES ('entries', ?1)",
            [last_id],
        )?;
    }
    Ok(())
}

/// The size of a page, in bytes.
fn page_size(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_size", [], |row| row.get(0))?)
}

/// How many pages the file should have.
fn pages(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_count", [], |row| row.get(0))?)
}
