//! Blobs: what the cache has derived from the entries, in a separate table.
//!
//! The table may be missing, where `mneme-cache` or an owner of more rights has made the
//! others. Then there are no blobs, and the first write makes it.

use tokio_postgres::Row;

use super::connection::Connection;
use super::error::{Outcome, Repeat};
use super::layout::CREATE_BLOBS;
use super::rows::column;
use super::session::{BACK_TO_VIEW, Session};
use super::values::Values;
use super::writes::single;

const READ: &str = "SELECT bytes FROM {schema}.derived_blobs WHERE name = $1";
const WRITE: &str = "INSERT INTO {schema}.derived_blobs (name, bytes)
    SELECT $1::text, $2::bytea WHERE {ours}
    ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes RETURNING true";
const DELETE: &str =
    "DELETE FROM {schema}.derived_blobs WHERE name = ANY ($1) AND {ours} RETURNING true";
/// In the order of the bytes, by the column's collation.
const LIST: &str = "SELECT name FROM {schema}.derived_blobs ORDER BY name";

/// The SQLSTATE of a table that is not there.
const NO_TABLE: &str = "42P01";

impl Session {
    pub fn read_blob(&mut self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let rows = self.blobs(READ, &[&name], |row| column(row, 0))?;
        Ok(rows.into_iter().next())
    }

    pub fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Outcome<()> {
        self.run(Repeat::Same, async |conn| {
            let values: Values<'_> = &[&name, &bytes];
            match single(conn, WRITE, values).await {
                Err(fault) if fault.code() == NO_TABLE => {
                    conn.plain(&conn.text(CREATE_BLOBS)).await?;
                    single(conn, WRITE, values).await?;
                }
                outcome => drop(outcome?),
            }
            Ok(())
        })
    }

    pub fn delete_blobs(&mut self, names: &[String]) -> Outcome<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.run(Repeat::Same, async |conn| {
            match single(conn, DELETE, &[&names]).await {
                Err(fault) if fault.code() == NO_TABLE => {}
                outcome => drop(outcome?),
            }
            Ok(())
        })
    }

    pub fn list_blobs(&mut self) -> Outcome<Vec<String>> {
        self.blobs(LIST, &[], |row| column(row, 0))
    }

    /// Makes something of each row of a query, none where there is no table.
    fn blobs<T>(
        &mut self,
        sql: &'static str,
        values: Values<'_>,
        each: impl Fn(&Row) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        let in_view = self.in_view;
        self.run(Repeat::Read, async |conn: &Connection| {
            match conn.query(sql, values).await {
                Err(fault) if fault.code() == NO_TABLE => {
                    if in_view {
                        conn.plain(BACK_TO_VIEW).await?;
                    }
                    Ok(Vec::new())
                }
                outcome => outcome?.iter().map(&each).collect(),
            }
        })
    }
}
