//! Blobs: what the cache has derived from the entries, in a table of our own.
//!
//! The table is made by the first write. So a file that never had a blob is as
//! `mneme-cache` makes it, and opening one writes nothing for it.

use rusqlite::{CachedStatement, Connection};

use super::MAX_BLOB;
use super::connection;
use super::error::{Fault, Outcome};
use super::layout::{self, BLOBS};
use super::session::Session;

const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS derived_blobs (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)";
const READ: &str = "SELECT bytes FROM derived_blobs WHERE name = ?1";
const WRITE: &str = "INSERT INTO derived_blobs (name, bytes) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes";
const DELETE: &str = "DELETE FROM derived_blobs WHERE name = ?1";
/// From the index of the names alone.
const LIST: &str = "SELECT name FROM derived_blobs ORDER BY name";
/// Rows that `write_blob` does not write. Looks at no bytes.
const WRONG_ROW: &str = "SELECT EXISTS (SELECT 1 FROM derived_blobs
    WHERE typeof(name) <> 'text' OR length(name) NOT BETWEEN 1 AND 100 OR name GLOB '*[^a-z0-9./-]*'
        OR typeof(bytes) <> 'blob' OR length(bytes) > ?1)";
const HAS_TABLE: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";

impl Session {
    pub fn read_blob(&mut self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let Some(mut query) = prepared(&self.conn, READ)? else {
            return Ok(None);
        };
        let mut rows = query.query([name])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        match row.get_ref(0)?.as_blob() {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(_) => Err(Fault::Corrupt(format!(
                "table {BLOBS}, row {name} holds no bytes; delete that row"
            ))),
        }
    }

    pub fn write_blob(&mut self, name: &str, bytes: &[u8]) -> Outcome<()> {
        self.write(|conn| {
            connection::run(conn, CREATE)?;
            let mut write = conn.prepare_cached(WRITE).map_err(layout::misfit)?;
            write.execute((name, bytes))?;
            Ok(())
        })
    }

    pub fn delete_blobs(&mut self, names: &[String]) -> Outcome<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.write(|conn| {
            let Some(mut delete) = prepared(conn, DELETE)? else {
                return Ok(());
            };
            for name in names {
                delete.execute([name])?;
            }
            Ok(())
        })
    }

    pub fn list_blobs(&mut self) -> Outcome<Vec<String>> {
        let Some(mut query) = prepared(&self.conn, LIST)? else {
            return Ok(Vec::new());
        };
        let names = query.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whether every blob is one.
pub(super) fn sound(conn: &Connection) -> Outcome<bool> {
    let Some(mut query) = prepared(conn, WRONG_ROW)? else {
        return Ok(true);
    };
    let wrong: bool = query.query_row([MAX_BLOB], |row| row.get(0))?;
    Ok(!wrong)
}

/// A statement about the table, or none where there is no table.
fn prepared<'c>(conn: &'c Connection, sql: &str) -> Outcome<Option<CachedStatement<'c>>> {
    match conn.prepare_cached(sql) {
        Ok(statement) => Ok(Some(statement)),
        Err(_) if !has_table(conn)? => Ok(None),
        // Another process may just have made it.
        Err(_) => Ok(Some(conn.prepare_cached(sql).map_err(layout::misfit)?)),
    }
}

fn has_table(conn: &Connection) -> Outcome<bool> {
    Ok(conn.query_row(HAS_TABLE, [BLOBS], |row| row.get(0))?)
}
