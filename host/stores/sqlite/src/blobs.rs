//! Blobs: what the cache has derived from the entries, in a separate table.
//!
//! The table is made by the first write. So a file that never had a blob is as
//! `mneme-cache` makes it, and opening one writes nothing for it.

use rusqlite::{Connection, OptionalExtension};

use super::connection::{self, SHORT};
use super::error::{Fault, Outcome};
use super::layout::{self, unless_missing};
use super::schema::{BLOBS, CREATE_BLOBS};
use super::session::Session;
use mneme_store::opened::MAX_BLOB;

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

impl Session {
    pub fn read_blob(&mut self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let found = unless_missing(self.conn()?, BLOBS, None, |conn| {
            let mut query = conn.prepare_cached(READ)?;
            query
                .query_row([name], |row| {
                    let bytes = row.get_ref(0)?.as_blob();
                    Ok(bytes.ok().map(<[u8]>::to_vec))
                })
                .optional()
        })?;
        match found {
            Some(None) => Err(Fault::Corrupt(format!(
                "table {BLOBS}, row {name} holds no bytes; delete that row"
            ))),
            found => Ok(found.flatten()),
        }
    }

    pub fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Outcome<()> {
        self.write_within(SHORT, |conn| {
            connection::run(conn, CREATE_BLOBS)?;
            let mut write = conn.prepare_cached(WRITE).map_err(layout::misfit)?;
            write.execute((name, bytes)).map_err(layout::misfit)?;
            Ok(())
        })
    }

    pub fn delete_blobs(&mut self, names: &[String]) -> Outcome<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.write_within(SHORT, |conn| {
            unless_missing(conn, BLOBS, (), |conn| {
                let mut delete = conn.prepare_cached(DELETE)?;
                for name in names {
                    delete.execute([name])?;
                }
                Ok(())
            })
        })
    }

    pub fn list_blobs(&mut self) -> Outcome<Vec<String>> {
        let names: Vec<Option<String>> = unless_missing(self.conn()?, BLOBS, Vec::new(), |conn| {
            let mut query = conn.prepare_cached(LIST)?;
            let names = query.query_map([], |row| {
                let name = row.get_ref(0)?.as_str();
                Ok(name.ok().map(str::to_owned))
            })?;
            names.collect()
        })?;
        let names: Option<_> = names.into_iter().collect();
        names.ok_or_else(wrong_row)
    }
}

/// Fails if a blob is damaged.
pub(super) fn check(conn: &Connection) -> Outcome<()> {
    let sound = unless_missing(conn, BLOBS, true, |conn| {
        let mut query = conn.prepare_cached(WRONG_ROW)?;
        query.query_row([MAX_BLOB], |row| Ok(!row.get::<_, bool>(0)?))
    })?;
    match sound {
        true => Ok(()),
        false => Err(wrong_row()),
    }
}

fn wrong_row() -> Fault {
    Fault::Corrupt(format!(
        "table {BLOBS} has a row that is no blob; delete the table, which the cache fills again"
    ))
}
