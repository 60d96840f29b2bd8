//! Archives that are changed at every level: compressed bytes, tar headers, members, manifest,
//! state, rows and vectors, and the pages, rows and schema of the database in a native archive.
//! Checksums are computed again, so that a change gets past them.

use crate::parts::{Parts, gzip};
use fastrand::Rng;
use mneme_tests::damage;
use serde_json::{Value, json};
use std::path::Path;

/// A changed archive, and what was changed.
pub fn mutate(base: &Parts, random: &mut Rng, folder: &Path) -> (Vec<u8>, String) {
    let level = random.u32(0..=2);
    let mut parts = base.clone();
    let database = parts.member("store");
    let what = match random.u8(..16) {
        0 => {
            let mut archive = gzip(&parts.tar(), level);
            let what = bytes(&mut archive, random);
            return (archive, format!("compressed {what}"));
        }
        1 | 2 => {
            let mut tar = parts.tar();
            let what = header(&mut tar, random);
            return (gzip(&tar, level), what);
        }
        3 => members(&mut parts, random),
        15 if database.is_none() => rows(&mut parts, random),
        4 | 5 => text(&mut parts.members[0].1, "manifest", random),
        choice => match database {
            Some(at) => database_of(&mut parts.members[at].1, choice, random, folder),
            None => {
                let at = random.usize(1..parts.members.len());
                let (name, content) = &mut parts.members[at];
                match name.ends_with(".f32") {
                    true => format!("{name} {}", bytes(content, random)),
                    false => text(content, &name.clone(), random),
                }
            }
        },
    };
    (gzip(&parts.tar(), level), what)
}

/// Changes some bytes.
fn bytes(content: &mut Vec<u8>, random: &mut Rng) -> String {
    if content.is_empty() {
        return "bytes of nothing".into();
    }
    let at = random.usize(..content.len());
    match random.u8(..6) {
        0 => {
            content.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            let noise: Vec<u8> = (0..random.usize(1..40)).map(|_| random.u8(..)).collect();
            content.splice(at..at, noise);
            format!("noise put in at {at}")
        }
        2 => {
            let piece = content[at..(at + random.usize(1..600)).min(content.len())].to_vec();
            let to = random.usize(..content.len());
            content.splice(to..to, piece);
            format!("a piece of {at} at {to} too")
        }
        3 => {
            let end = (at + random.usize(1..20)).min(content.len());
            content[at..end].fill(*random.choice(&[0, 0x7f, 0x80, 0xff]).unwrap());
            format!("filled at {at}")
        }
        _ => {
            for _ in 0..random.usize(1..5) {
                let at = random.usize(..content.len());
                content[at] ^= 1 << random.u8(..8);
            }
            format!("bits from {at}")
        }
    }
}

/// Changes a header, and makes its checksum fit.
fn header(tar: &mut [u8], random: &mut Rng) -> String {
    let headers: Vec<usize> = (0..tar.len())
        .step_by(512)
        .filter(|&at| tar[at..].get(257..262) == Some(b"ustar"))
        .collect();
    let at = *random.choice(&headers).unwrap();
    let block = &mut tar[at..at + 512];
    let fields = [
        0..100,
        100..108,
        124..136,
        136..148,
        156..157,
        157..257,
        257..265,
        345..500,
    ];
    let field = random.choice(&fields).unwrap().clone();
    let values: [&[u8]; 12] = [
        b"",
        b"77777777777",
        b"00000000001",
        b"-1",
        b"\x80\0\0\0\0\0\0\0\0\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"../../etc/passwd",
        b"/store",
        b"L",
        b"x",
        b"2",
        b"store\0manifest.json",
    ];
    let value = random.choice(values).unwrap();
    block[field.clone()].fill(0);
    let length = value.len().min(field.len());
    block[field.start..field.start + length].copy_from_slice(&value[..length]);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    format!("field {field:?} of the header at {at} is {value:?}")
}

/// Changes which members there are.
fn members(parts: &mut Parts, random: &mut Rng) -> String {
    let at = random.usize(..parts.members.len());
    let name = parts.members[at].0.clone();
    match random.u8(..5) {
        0 => {
            parts.members.remove(at);
            format!("without {name}")
        }
        1 => {
            let again = parts.members[at].clone();
            parts.members.push(again);
            format!("{name} twice")
        }
        2 => {
            let other = random.usize(..parts.members.len());
            parts.members.swap(at, other);
            format!("{name} swapped")
        }
        3 => {
            for n in 0..random.u32(1..1200) {
                parts.members.push((format!("other/{n}"), Vec::new()));
            }
            "many others".into()
        }
        _ => {
            parts.members[at].1 = vec![b' '; random.usize(1..40 << 20)];
            format!("blanks as {name}")
        }
    }
}

/// Puts a row of a page at its end again, with its vector: under a new id, and perhaps elsewhere.
fn rows(parts: &mut Parts, random: &mut Rng) -> String {
    let pages: Vec<usize> = (0..parts.members.len())
        .filter(|&at| parts.members[at].0.ends_with(".jsonl"))
        .collect();
    let at = *random.choice(&pages).unwrap();
    let lines = String::from_utf8_lossy(&parts.members[at].1).into_owned();
    let rows: Vec<&str> = lines.lines().collect();
    let chosen = random.usize(..rows.len());
    let mut row: Value = serde_json::from_str(rows[chosen]).unwrap();
    row["id"] = json!(1_000_000);
    let is_elsewhere = random.bool();
    if is_elsewhere {
        row["namespace"] = json!("elsewhere");
    }
    let vectors = &mut parts.members[at - 1].1;
    let size = vectors.len() / rows.len();
    vectors.extend_from_within(chosen * size..(chosen + 1) * size);
    parts.members[at].1.extend(format!("{row}\n").into_bytes());
    format!("row {chosen} again, elsewhere: {is_elsewhere}")
}

/// A value that no cache has, in JSON.
fn extreme(random: &mut Rng) -> String {
    let long = random.usize(1..300_000);
    match random.u8(..20) {
        0 => "-1".into(),
        1 => "9007199254740992".into(),
        2 => "18446744073709551615".into(),
        3 => "18446744073709551616".into(),
        4 => "1e400".into(),
        5 => "0.5".into(),
        6 => "null".into(),
        7 => "true".into(),
        8 => "\"\"".into(),
        9 => "\"\\u0000\"".into(),
        10 => "\"\\ud800\"".into(),
        11 => format!("\"{}\"", "x".repeat(long)),
        12 => format!("[{}1]", "1,".repeat(long)),
        13 => format!("{}{}", "[".repeat(long), "]".repeat(long)),
        14 => format!("\"{{\\\"a\\\":[{}1]}}\"", "1,".repeat(long)),
        15 => format!("[{}\"b\"]", "\"a\",".repeat(long)),
        16 => "{}".into(),
        17 => "[]".into(),
        18 => "\"../../x\"".into(),
        _ => random.u64(..).to_string(),
    }
}

/// Changes a value of a JSON text, or a line of such.
fn text(content: &mut Vec<u8>, name: &str, random: &mut Rng) -> String {
    let text = String::from_utf8_lossy(content).into_owned();
    // What follows a colon is a value.
    let colons: Vec<usize> = text.match_indices("\":").map(|(at, _)| at + 2).collect();
    if colons.is_empty() || random.u8(..8) == 0 {
        return format!("{name} {}", bytes(content, random));
    }
    let start = *random.choice(&colons).unwrap();
    let rest = &text[start..];
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
    let end = match values.next() {
        Some(Ok(_)) => start + values.byte_offset(),
        _ => start,
    };
    let key = text[..start - 2]
        .rsplit('"')
        .next()
        .unwrap_or_default()
        .to_owned();
    let value = extreme(random);
    let changed = match random.u8(..6) {
        // The key comes twice.
        0 => format!("{}{value},\"{key}\":{}", &text[..start], &text[start..]),
        _ => format!("{}{value}{}", &text[..start], &text[end..]),
    };
    *content = changed.into_bytes();
    format!("{key} of {name} is {value:.40}")
}

/// Statements that make a database what no cache makes of it. `{n}` is a number.
const STATEMENTS: &[&str] = &[
    "UPDATE sqlite_master SET sql = replace(sql, 'namespace TEXT NOT NULL', 'namespace TEXT COLLATE NOCASE NOT NULL') WHERE name = 'entries'",
    "UPDATE sqlite_master SET sql = replace(sql, 'namespace TEXT PRIMARY KEY', 'namespace TEXT COLLATE RTRIM PRIMARY KEY')",
    "UPDATE sqlite_master SET sql = replace(sql, 'query_hash TEXT NOT NULL', 'query_hash TEXT COLLATE nowhere NOT NULL')",
    "UPDATE sqlite_master SET sql = replace(sql, 'response TEXT NOT NULL', 'response TEXT GENERATED ALWAYS AS (hex(zeroblob(490000000))) VIRTUAL')",
    "UPDATE sqlite_master SET sql = replace(sql, 'metadata TEXT NOT NULL', 'metadata TEXT GENERATED ALWAYS AS (hex(zeroblob({n}))) STORED')",
    "UPDATE sqlite_master SET sql = replace(sql, 'access_count INTEGER NOT NULL DEFAULT 0', 'access_count INTEGER NOT NULL DEFAULT 0, big TEXT AS (hex(zeroblob(490000000)))')",
    "UPDATE sqlite_master SET sql = replace(sql, 'value TEXT NOT NULL', 'value TEXT AS (hex(zeroblob(490000000))) NOT NULL')",
    "UPDATE sqlite_master SET sql = replace(sql, 'created_at INTEGER NOT NULL', 'created_at INTEGER NOT NULL CHECK (length(hex(zeroblob(490000000))) > 0)')",
    "UPDATE sqlite_master SET sql = replace(sql, 'ttl INTEGER', 'ttl TEXT')",
    "UPDATE sqlite_master SET sql = replace(sql, 'embedding BLOB NOT NULL', 'embedding BLOB')",
    "UPDATE sqlite_master SET sql = replace(sql, 'id INTEGER PRIMARY KEY AUTOINCREMENT', 'id INTEGER')",
    "UPDATE sqlite_master SET sql = replace(sql, 'AUTOINCREMENT', '')",
    "UPDATE sqlite_master SET sql = sql || '/*' || hex(zeroblob({n})) || '*/' WHERE name = 'entries'",
    "UPDATE sqlite_master SET sql = replace(sql, 'UNIQUE', 'CHECK (1) --')",
    "UPDATE sqlite_master SET rootpage = {n} WHERE name = 'entries'",
    "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'schema_meta') WHERE name = 'entries'",
    "UPDATE sqlite_master SET type = 'view' WHERE name = 'namespace_quotas'",
    "UPDATE sqlite_master SET name = 'Entries', tbl_name = 'Entries' WHERE name = 'entries'",
    "UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE entries USING fts5(a)' WHERE name = 'entries'",
    "DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_entries_1'",
    "CREATE INDEX more ON entries(response) WHERE ttl IS NOT NULL",
    "CREATE UNIQUE INDEX more ON entries(namespace) WHERE id > 1000000",
    "CREATE INDEX more ON entries(hex(zeroblob(id)))",
    "CREATE INDEX more ON entries(length(hex(zeroblob({n}))))",
    "CREATE TRIGGER more AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
    "CREATE TRIGGER more AFTER UPDATE ON multi_process_state BEGIN UPDATE entries SET response = 'x'; END",
    "CREATE VIEW more AS SELECT 1",
    "CREATE TABLE more(a CHECK (a > 1)) ",
    "CREATE TABLE sqlite_stat1(tbl, idx, stat)",
    "CREATE TABLE IF NOT EXISTS derived_blobs(name TEXT, bytes BLOB)",
    "ANALYZE",
    "DROP TABLE namespace_quotas",
    "DROP TABLE namespace_quotas; CREATE VIEW namespace_quotas AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS namespace, x AS max_entries FROM c",
    "DROP TABLE schema_meta; CREATE VIEW schema_meta AS SELECT 'a' AS key, hex(zeroblob(490000000)) AS value",
    "DROP TABLE entries",
    "DROP TABLE multi_process_state",
    "DROP INDEX idx_entries_ns_hash",
    "ALTER TABLE entries ADD COLUMN extra TEXT DEFAULT 'x'",
    "ALTER TABLE entries RENAME COLUMN response TO answer",
    "ALTER TABLE entries DROP COLUMN access_count",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "UPDATE sqlite_sequence SET seq = {n}9007199254740992",
    "UPDATE sqlite_sequence SET seq = -1",
    "UPDATE sqlite_sequence SET seq = 'x'",
    "UPDATE sqlite_sequence SET seq = NULL",
    "DELETE FROM sqlite_sequence",
    "INSERT INTO sqlite_sequence SELECT * FROM sqlite_sequence",
    "PRAGMA user_version = {n}",
    "PRAGMA application_id = {n}",
    "PRAGMA page_size = 512; VACUUM",
    "PRAGMA page_size = 65536; VACUUM",
    "PRAGMA auto_vacuum = FULL; VACUUM",
    "PRAGMA journal_mode = WAL",
    "UPDATE multi_process_state SET value = '9223372036854775807'",
    "UPDATE multi_process_state SET value = '-1'",
    "UPDATE multi_process_state SET value = 'x'",
    "UPDATE multi_process_state SET value = x'ff'",
    "INSERT OR REPLACE INTO schema_meta VALUES ('counters', '{\"n:misses\": -1}')",
    "INSERT OR REPLACE INTO schema_meta VALUES ('counters', hex(zeroblob({n})))",
    "INSERT OR REPLACE INTO schema_meta VALUES ('schema_version', '2')",
    "INSERT OR REPLACE INTO schema_meta VALUES ('embedder_dim', '999999999')",
    "INSERT OR REPLACE INTO schema_meta VALUES ('embedder_fingerprint', 'other')",
    "INSERT INTO namespace_quotas VALUES ('', 1)",
    "INSERT INTO namespace_quotas VALUES ('q', -1)",
    "INSERT INTO namespace_quotas VALUES ('q', 9007199254740992)",
    "INSERT INTO namespace_quotas VALUES (x'ff', 'x')",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {n}) INSERT INTO namespace_quotas SELECT 'q' || x, x FROM c",
    "INSERT INTO entries SELECT id + 1000, namespace || 'x', query_hash, query, response, embedding, metadata, created_at, last_accessed_at, ttl, access_count FROM entries",
    "UPDATE entries SET metadata = '{\"a\":[' || replace(hex(zeroblob({n})), '0', '1,') || '1]}'",
    "UPDATE entries SET response = hex(zeroblob(3000000))",
];

/// Changes a database: its bytes, its rows or its schema.
fn database_of(content: &mut Vec<u8>, choice: u8, random: &mut Rng, folder: &Path) -> String {
    let mut execute = |sql: String| {
        *content = damage::execute(content, &sql, &folder.join("mutated.db"));
        sql
    };
    match choice {
        6 => format!("database {}", bytes(content, random)),
        7 => damage::page(content, random),
        8 | 9 => execute(damage::odd_value(random)),
        _ => {
            let number = [0, 1, 7, 4096, 30_000, 2_000_000][random.usize(..6)];
            let statement = random.choice(STATEMENTS).unwrap();
            let sql = statement.replace("{n}", &number.to_string());
            let sql = execute(sql);
            match random.u8(..6) {
                0 => format!("{sql}, then {}", damage::page(content, random)),
                _ => sql,
            }
        }
    }
}
