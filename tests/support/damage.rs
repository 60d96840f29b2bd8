//! Damage that knows SQLite, by random numbers, and what a call on it may take.

use fastrand::Rng;
use rusqlite::Connection;
use std::fs;
use std::path::Path;

/// The size of a page of the databases that are damaged.
pub const PAGE: usize = 4096;

/// Columns of the tables of a cache.
const COLUMNS: &[(&str, &[&str])] = &[
    (
        "entries",
        &[
            "id",
            "namespace",
            "query_hash",
            "query",
            "response",
            "embedding",
            "metadata",
            "created_at",
            "last_accessed_at",
            "ttl",
            "access_count",
            "context",
            "tags",
        ],
    ),
    ("entry_tags", &["tag", "id"]),
    ("changes", &["version", "id", "deleted"]),
    ("sqlite_sequence", &["name", "seq"]),
    ("namespace_quotas", &["namespace", "max_entries"]),
    ("multi_process_state", &["key", "value"]),
    ("schema_meta", &["key", "value"]),
    ("derived_blobs", &["name", "bytes"]),
];

/// Values that few columns may have.
const VALUES: &[&str] = &[
    "NULL",
    "-1",
    "0",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "-9223372036854775808",
    "0.5",
    "1e300",
    "-1e-300",
    "''",
    "'x'",
    "x'00'",
    "x'ff'",
    "char(0)",
    "zeroblob(8)",
    "zeroblob(4)",
    "hex(zeroblob(600))",
    "zeroblob(200000)",
    "'{}'",
    "'[]'",
    "x'0000c07f0000c07f'",
];

/// A statement that puts an odd value somewhere, most often into an entry.
pub fn odd_value(random: &mut Rng) -> String {
    let at = match random.bool() {
        true => 0,
        false => random.usize(..COLUMNS.len()),
    };
    let (table, columns) = COLUMNS[at];
    let column = columns[random.usize(..columns.len())];
    let value = VALUES[random.usize(..VALUES.len())];
    let every = [1, 2, random.u32(1..100)][random.usize(..3)];
    let row = if ["entry_tags", "changes"].contains(&table) {
        "id"
    } else {
        "rowid"
    };
    format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE {row} % {every} = 0")
}

/// A database after statements, which may fail half way: that is a change too. They may
/// write the schema. The file at `path` and those beside it are overwritten.
///
/// # Panics
///
/// Where the file cannot be written.
pub fn execute(database: &[u8], sql: &str, path: &Path) -> Vec<u8> {
    for beside in ["-wal", "-journal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        // Most often there is none.
        let _ = fs::remove_file(name);
    }
    fs::write(path, database).expect("the database is written");
    let conn = Connection::open(path).expect("the database opens");
    let _ = conn.execute_batch("PRAGMA writable_schema = ON; PRAGMA synchronous = OFF");
    let _ = conn.execute_batch(sql);
    let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    drop(conn);
    fs::read(path).expect("the database is read")
}

/// Changes a page of a database, and says what: its head, its cells, its place, where it leads.
pub fn page(database: &mut [u8], random: &mut Rng) -> String {
    let pages = database.len() / PAGE;
    if pages < 3 {
        return "too few pages".into();
    }
    let number = random.usize(..pages);
    let start = number * PAGE;
    match random.u8(..7) {
        0 => {
            let other = random.usize(1..pages) * PAGE;
            if start > 0 {
                for i in 0..PAGE {
                    database.swap(start + i, other + i);
                }
            }
            format!("pages {number} and {} swapped", other / PAGE)
        }
        1 => {
            let at = start + random.usize(..12);
            database[at] = random.u8(..);
            format!("the head of page {number}")
        }
        2 => {
            let at = start + 8 + 2 * random.usize(..20);
            database[at..at + 2].copy_from_slice(&random.u16(..).to_be_bytes());
            format!("a cell pointer of page {number}")
        }
        3 => {
            // Where a length or an id may stand.
            let at = start + random.usize(..PAGE - 9);
            database[at..at + 9].fill(0xff);
            format!("a varint on page {number}")
        }
        4 => {
            let at = 16 + random.usize(..84);
            database[at] = random.u8(..);
            format!("byte {at} of the file's header")
        }
        5 => {
            // The rightmost child or the next page of a chain, which may lead in circles.
            let at = start + [0, 8][random.usize(..2)];
            let to = random.u32(0..pages as u32 + 2);
            database[at..at + 4].copy_from_slice(&to.to_be_bytes());
            format!("page {number} leads to {to}")
        }
        _ => {
            for _ in 0..random.usize(1..8) {
                database[start + random.usize(..PAGE)] = random.u8(..);
            }
            format!("bytes of page {number}")
        }
    }
}

/// A field of `/proc/self/status` such as `VmHWM`, in bytes.
///
/// # Panics
///
/// Where the system has no such file.
pub fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kilobytes
        .expect("the field is there")
        .parse::<u64>()
        .expect("a number")
}

/// Has the peak `VmHWM` begin again at what there is now.
///
/// # Panics
///
/// Where the system does not do that.
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("the peak begins again");
}

/// What this process has used of its processors, in seconds. This clock does not run while others
/// compute.
///
/// # Panics
///
/// Where the system does not tell.
pub fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11..13].iter();
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0)
        .sum()
}
