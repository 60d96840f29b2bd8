//! Looking into a SQLite file past the cache.

use rusqlite::Connection;
use rusqlite::types::Value;
use std::path::Path;

/// Every row of every table of the cache, as text, in a fixed order.
///
/// # Panics
///
/// Where the file cannot be read.
pub fn dump(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).expect("the file opens");
    let mut rows = Vec::new();
    for table in [
        "entries",
        "namespace_quotas",
        "multi_process_state",
        "schema_meta",
    ] {
        let mut query = conn
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1"))
            .expect("the table exists");
        let columns = query.column_count();
        let mut found = query.query([]).expect("the table is readable");
        while let Some(row) = found.next().expect("the rows are readable") {
            let values: Vec<Value> = (0..columns)
                .map(|column| row.get(column).expect("the value is readable"))
                .collect();
            rows.push(format!("{table}: {values:?}"));
        }
    }
    rows
}

/// The first column of the first row that a statement returns.
///
/// # Panics
///
/// Where there is none.
pub fn value<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    let conn = Connection::open(path).expect("the file opens");
    conn.query_row(sql, [], |row| row.get(0)).expect("a row")
}

/// Runs statements.
///
/// # Panics
///
/// Where they fail.
pub fn execute(path: &Path, sql: &str) {
    Connection::open(path)
        .expect("the file opens")
        .execute_batch(sql)
        .expect("the statements run");
}
