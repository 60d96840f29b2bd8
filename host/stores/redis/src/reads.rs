//! The operations that change nothing.

use std::collections::BTreeSet;

use redis::Value;

use super::connection::Call;
use super::error::{Fault, Outcome};
use super::rows::{self, append_embedding};
use super::scripts::{self, Script};
use super::session::Session;
use super::writes::flag;
use mneme_store::{
    Change, ChangePage, Entry, EntryKey, EntryRef, Filter, Selection, StampPage, VectorPage, checks,
};

/// Keys or ids that one script looks up.
const LOOK_UPS: usize = 1000;
/// Entries that one script of a page returns.
const ENTRIES: u32 = 1000;
/// Vectors that one script of a page returns.
const VECTORS: u32 = 2048;
/// Entries that one script of a selection returns. It looks at 1,000 more.
const SELECTED: u32 = 1000;
/// Namespaces whose entries one script counts.
const COUNTED: usize = 16_384;
/// Stamps that one script of a page returns.
const STAMPS: u32 = 8192;
/// A script of a page ends when it has gathered so many bytes.
const BYTES: u32 = 16 * 1024 * 1024;
/// Entries that one script of an integrity check looks at.
const INSPECTED: u32 = 1000;
/// Entries that an integrity check looks at.
const MOST_INSPECTED: u32 = 100_000;
/// A hint to the server of how many keys to look at in one step of a scan.
const SCANNED: u32 = 5000;
/// How often a walk over the names of keys is begun.
const WALKS: u32 = 5;

/// A script's part of a page.
struct Part<const N: usize> {
    /// The last id that it looked at.
    last_id: u64,
    /// There is nothing beyond.
    ended: bool,
    columns: [Value; N],
}

impl Session {
    pub fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Outcome<Vec<Option<Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(LOOK_UPS) {
            let mut args = vec![flag(vectors)];
            args.extend(
                keys.iter()
                    .flat_map(|key| [key.namespace.as_bytes(), key.query_hash.as_bytes()]),
            );
            let reply = rows::list(self.read(&scripts::FIND, &args)?)?;
            for (key, row) in keys.iter().zip(reply) {
                found.push(self.found(key, row)?);
            }
        }
        Ok(found)
    }

    /// The key's entry. A namespace and hash with colons can share a key with others.
    fn found(&self, key: &EntryKey, row: Value) -> Outcome<Option<Entry>> {
        if row == Value::Nil {
            return Ok(None);
        }
        let entry = self.reader().entry(row)?;
        let same = entry.namespace == key.namespace && entry.query_hash == key.query_hash;
        Ok(same.then_some(entry))
    }

    pub fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Outcome<Vec<Entry>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LOOK_UPS) {
            let reply = self.read(&scripts::ROWS, &[flag(vectors), joined(ids).as_bytes()])?;
            self.append_entries(reply, &mut found)?;
        }
        Ok(found)
    }

    fn append_entries(&self, rows: Value, to: &mut Vec<Entry>) -> Outcome<()> {
        for row in rows::list(rows)? {
            to.push(self.reader().entry(row)?);
        }
        Ok(())
    }

    pub fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Outcome<Selection> {
        if limit == 0 {
            return Ok(Selection {
                entries: Vec::new(),
                next: None,
            });
        }
        let [from, before] = [filter.created_from, filter.created_before]
            .map(|time| time.map(|time| time.to_string()).unwrap_or_default());
        let mut more = Vec::with_capacity(6 + filter.tags.len());
        for text in [&filter.namespace, &filter.context] {
            more.extend([
                flag(text.is_some()),
                text.as_deref().unwrap_or_default().as_bytes(),
            ]);
        }
        more.extend([from.as_bytes(), before.as_bytes()]);
        more.extend(filter.tags.iter().map(String::as_bytes));
        // No id is greater.
        let last_id = last_id.min(checks::GREATEST);
        let part = self.part::<3>(&scripts::SELECT, last_id, limit.min(SELECTED), &more)?;
        let [ids, namespaces, times] = part.columns;
        Ok(Selection {
            entries: self.reader().references(ids, namespaces, times)?,
            next: (!part.ended).then_some(part.last_id),
        })
    }

    pub fn count(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let reply = self.read(&scripts::COUNT, some(namespace).as_slice())?;
        rows::count(&reply)
    }

    pub fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Outcome<Vec<String>> {
        let counts = self.count_by_namespace(after, limit)?;
        Ok(counts.into_iter().map(|(name, _)| name).collect())
    }

    pub fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<(String, u64)>> {
        let limit = limit as usize;
        let (mut names, counts) = self.counts(&[])?;
        let is_after = |name: &str| after.is_none_or(|after| name > after);
        let mut page: Vec<_>;
        if names.len() == counts.len() {
            page = names.into_iter().zip(counts).collect();
            page.retain(|(name, _)| is_after(name));
            page.sort_unstable();
        } else {
            page = Vec::new();
            names.retain(|name| is_after(name));
            names.sort_unstable();
            for names in names.chunks(COUNTED.min(limit.max(1))) {
                if page.len() >= limit {
                    break;
                }
                let (names, counts) = self.counts(names)?;
                page.extend(names.into_iter().zip(counts));
            }
        }
        page.truncate(limit);
        Ok(page)
    }

    /// How many entries these namespaces hold, without those that hold none. No names mean all; of
    /// too many, it is the names alone. Redis keeps no order of bytes, so that all are looked at.
    fn counts(&mut self, names: &[String]) -> Outcome<(Vec<String>, Vec<u64>)> {
        let most = COUNTED.to_string();
        let mut args = vec![most.as_bytes()];
        args.extend(names.iter().map(String::as_bytes));
        let [names, counts] = rows::tuple(self.read(&scripts::COUNTS, &args)?)?;
        let key = self.key("namespaces");
        let names = rows::list(names)?.into_iter().map(|name| text(name, &key));
        let counts = rows::list(counts)?;
        Ok((
            names.collect::<Outcome<_>>()?,
            counts.iter().map(rows::count).collect::<Outcome<_>>()?,
        ))
    }

    pub fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Outcome<Vec<EntryRef>> {
        let n = n.to_string();
        let mut args = vec![n.as_bytes()];
        args.extend(some(namespace));
        let [ids, names, times] = rows::tuple(self.read(&scripts::LRU, &args)?)?;
        self.reader().references(ids, names, times)
    }

    pub fn iter_since(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        let mut page = Vec::new();
        self.walk(last_id, limit, |session, last_id, limit| {
            let part = session.part::<1>(&scripts::SINCE, last_id, limit.min(ENTRIES), &[])?;
            let before = page.len();
            let [rows] = part.columns;
            session.append_entries(rows, &mut page)?;
            Ok((part.last_id, part.ended, page.len() - before))
        })?;
        Ok(page)
    }

    pub fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Outcome<VectorPage> {
        let mut page = VectorPage {
            ids: Vec::new(),
            contexts: Vec::new(),
            namespaces: Vec::new(),
            created_at: Vec::new(),
            vectors: Vec::new(),
        };
        self.walk(last_id, limit, |session, last_id, limit| {
            let part = session.part::<5>(&scripts::VECTORS, last_id, limit.min(VECTORS), &[])?;
            let [ids, namespaces, contexts, times, vectors] = part.columns;
            let rows = session.reader().references(ids, namespaces, times)?;
            for vector in rows::list(vectors)? {
                append_embedding(&mut page.vectors, &rows::bytes(vector)?.unwrap_or_default());
            }
            let count = rows.len();
            for (row, context) in rows.into_iter().zip(rows::list(contexts)?) {
                page.ids.push(row.id);
                page.contexts
                    .push(session.reader().text(context, row.id, "context")?);
                page.namespaces.push(row.namespace);
                page.created_at.push(row.created_at);
            }
            // The script has checked their lengths.
            if page.vectors.len() != page.ids.len() * session.embedder.dim as usize {
                return Err(rows::nonsense(&Value::Array(Vec::new())));
            }
            Ok((part.last_id, part.ended, count))
        })?;
        Ok(page)
    }

    pub fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Outcome<StampPage> {
        let mut page = StampPage {
            ids: Vec::new(),
            created_at: Vec::new(),
        };
        self.walk(last_id, limit, |session, last_id, limit| {
            let part = session.part::<1>(&scripts::STAMPS, last_id, limit.min(STAMPS), &[])?;
            let [stamps] = part.columns;
            let stamps = rows::bytes(stamps)?.unwrap_or_default();
            let stamps = String::from_utf8_lossy(&stamps);
            let mut fields = stamps.split_ascii_whitespace();
            let before = page.ids.len();
            while let (Some(id), Some(time)) = (fields.next(), fields.next()) {
                let id = session.reader().id_in(id)?;
                let time = rows::number(time.as_bytes())
                    .ok_or_else(|| session.reader().wrong(id, "created_at", "holds no number"))?;
                page.ids.push(id);
                page.created_at.push(time);
            }
            Ok((part.last_id, part.ended, page.ids.len() - before))
        })?;
        Ok(page)
    }

    /// Reads parts until there are `limit` rows or no more. `part` is given the id to look
    /// beyond and the number of rows still wanted; it returns the last id it looked at,
    /// whether that was the end, and how many rows it found. Keyset pages need no common
    /// picture: a row that stays is in exactly one part.
    fn walk(
        &mut self,
        mut last_id: u64,
        limit: u32,
        mut part: impl FnMut(&mut Self, u64, u32) -> Outcome<(u64, bool, usize)>,
    ) -> Outcome<()> {
        let mut wanted = limit as usize;
        while wanted > 0 {
            let (last, ended, rows) = part(self, last_id, u32::try_from(wanted).unwrap_or(limit))?;
            wanted = wanted.saturating_sub(rows);
            if ended {
                return Ok(());
            }
            last_id = last;
        }
        Ok(())
    }

    fn part<const N: usize>(
        &mut self,
        script: &Script,
        last_id: u64,
        limit: u32,
        more: &[&[u8]],
    ) -> Outcome<Part<N>> {
        let (last_id, limit) = (last_id.to_string(), limit.to_string());
        let bytes = BYTES.to_string();
        let length = (u64::from(self.embedder.dim) * 4).to_string();
        let args = [&last_id, &limit, &bytes, &length].map(|arg| arg.as_bytes());
        let args = [&args[..], more].concat();
        let mut items = rows::list(self.read(script, &args)?)?.into_iter();
        let (Some(last), Some(ended)) = (items.next(), items.next()) else {
            return Err(rows::nonsense(&Value::Array(Vec::new())));
        };
        let ended = rows::count(&ended)? == 1;
        Ok(Part {
            last_id: if ended {
                u64::MAX
            } else {
                self.reader().id(last)?
            },
            ended,
            columns: rows::tuple(Value::Array(items.collect()))?,
        })
    }

    pub fn get_namespace_quota(&mut self, namespace: &str) -> Outcome<Option<u64>> {
        let key = self.quota_key(namespace);
        let mut get = redis::cmd("GET");
        get.arg(&key);
        match rows::bytes(self.ask(Call::Read, &get, &key)?)? {
            None => Ok(None),
            Some(text) => Ok(Some(quota(&text, &key)?)),
        }
    }

    /// The keys of quotas are nowhere listed, so this looks at the names of all keys of the
    /// server, step by step.
    pub fn list_namespace_quotas(&mut self) -> Outcome<Vec<(String, u64)>> {
        let start = self.quota_key("");
        let names = self.names_after(&start)?;
        let names: Vec<_> = names.into_iter().collect();
        let mut quotas = Vec::with_capacity(names.len());
        for names in names.chunks(LOOK_UPS) {
            let keys: Vec<_> = names.iter().map(|name| self.quota_key(name)).collect();
            let mut get = redis::cmd("MGET");
            get.arg(&keys);
            let values = rows::list(self.ask(Call::Read, &get, &start)?)?;
            for ((name, key), value) in names.iter().zip(keys).zip(values) {
                // None where it was removed in between.
                if let Some(value) = rows::bytes(value)? {
                    quotas.push((name.clone(), quota(&value, &key)?));
                }
            }
        }
        Ok(quotas)
    }

    /// What follows this in the names of keys. A walk that another server has begun misses keys, so
    /// it begins again where the connection was lost.
    fn names_after(&mut self, start: &str) -> Outcome<BTreeSet<String>> {
        let pattern = format!("{}*", escaped(start));
        let count = SCANNED.to_string();
        let mut walks = 0;
        'walk: while walks < WALKS {
            walks += 1;
            let mut names = BTreeSet::new();
            let mut cursor = b"0".to_vec();
            let mut connections = None;
            loop {
                let args = [&*cursor, pattern.as_bytes(), count.as_bytes()];
                let [next, keys] = rows::tuple(self.read(&scripts::NAMES, &args)?)?;
                if *connections.get_or_insert(self.connections()) != self.connections() {
                    continue 'walk;
                }
                for key in rows::list(keys)? {
                    let key = text(key, start)?;
                    if let Some(name) = key.strip_prefix(start) {
                        names.insert(name.to_owned());
                    }
                }
                cursor = rows::bytes(next)?.unwrap_or_default();
                if cursor == b"0" {
                    return Ok(names);
                }
            }
        }
        Err(Fault::Later(
            "the connection was lost again and again while the names of keys were read, so call again"
                .to_owned(),
        ))
    }

    pub fn quota_key(&self, namespace: &str) -> String {
        self.key(&format!("quota:{namespace}"))
    }

    pub fn read_version_counter(&mut self) -> Outcome<u64> {
        let key = self.key("version");
        let mut get = redis::cmd("MGET");
        get.arg(&key).arg(self.key("incarnation"));
        let [version, incarnation] = rows::tuple(self.ask(Call::Read, &get, &key)?)?;
        self.check_incarnation(rows::bytes(incarnation)?)?;
        let version = match version {
            // MGET takes a key of the wrong type for one that is not there.
            Value::Nil => self.ask(Call::Read, redis::cmd("GET").arg(&key), &key)?,
            version => version,
        };
        let Some(bytes) = rows::bytes(version)? else {
            return Ok(0);
        };
        let text = String::from_utf8_lossy(&bytes);
        text.parse().map_err(|_| {
            Fault::Corrupt(format!(
                "key {key} holds {text:?}, which is not a count; set it to a number above the last"
            ))
        })
    }

    pub fn changes_since(&mut self, version: u64, limit: u32) -> Outcome<Option<ChangePage>> {
        if version > checks::GREATEST {
            return Ok(None);
        }
        let (after, limit) = (version.to_string(), limit.max(1).to_string());
        let reply = self.read(&scripts::CHANGES, &[after.as_bytes(), limit.as_bytes()])?;
        if reply == Value::Nil {
            return Ok(None);
        }
        let [version, changes] = rows::tuple(reply)?;
        let [version, changes] = [text(version, "changes")?, text(changes, "changes")?];
        let wrong = || {
            Fault::Corrupt(format!(
                "key {} holds something that is not a change; delete the key",
                self.key("changes")
            ))
        };
        let mut page = ChangePage {
            changes: Vec::new(),
            version: version.parse().map_err(|_| wrong())?,
        };
        let mut fields = changes.split_ascii_whitespace();
        while let (Some(version), Some(id)) = (fields.next(), fields.next()) {
            let deleted = id.starts_with('-');
            page.changes.push(Change {
                version: version.parse().map_err(|_| wrong())?,
                id: id.trim_start_matches('-').parse().map_err(|_| wrong())?,
                deleted,
            });
        }
        Ok(Some(page))
    }

    pub fn read_meta(&mut self, key: &str) -> Outcome<Option<String>> {
        let meta = self.key("meta");
        let mut get = redis::cmd("HGET");
        get.arg(&meta).arg(key);
        match self.ask(Call::Read, &get, &meta)? {
            Value::Nil => Ok(None),
            value => text(value, &meta).map(Some),
        }
    }

    pub fn list_meta(&mut self) -> Outcome<Vec<(String, String)>> {
        let key = self.key("meta");
        let mut get = redis::cmd("HGETALL");
        get.arg(&key);
        let mut items = rows::list(self.ask(Call::Read, &get, &key)?)?.into_iter();
        let mut found = Vec::with_capacity(items.len() / 2);
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            let name = text(name, &key)?;
            if checks::meta_key(&name).is_ok() {
                found.push((name, text(value, &key)?));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    pub fn integrity_check(&mut self) -> Outcome<bool> {
        match self.check() {
            Err(fault) if fault.is_damage() => Ok(false),
            outcome => outcome,
        }
    }

    fn check(&mut self) -> Outcome<bool> {
        self.read_version_counter()?;
        self.list_namespaces(None, u32::MAX)?;
        let mut last_id = 0;
        for _ in 0..MOST_INSPECTED / INSPECTED {
            let part = self.part::<1>(&scripts::INSPECT, last_id, INSPECTED, &[])?;
            let [sound] = part.columns;
            if rows::count(&sound)? != 1 {
                return Ok(false);
            }
            if part.ended {
                break;
            }
            last_id = part.last_id;
        }
        Ok(true)
    }
}

/// An argument that may be missing.
fn some(namespace: Option<&str>) -> Option<&[u8]> {
    namespace.map(str::as_bytes)
}

/// Numbers as one argument: a command takes a million arguments at most.
pub(super) fn joined(ids: &[u64]) -> String {
    let mut text = String::with_capacity(ids.len() * 8);
    for id in ids {
        text.push_str(&id.to_string());
        text.push(' ');
    }
    text
}

/// A pattern that matches this text alone.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn text(value: Value, key: &str) -> Outcome<String> {
    String::from_utf8(rows::bytes(value)?.unwrap_or_default()).map_err(|_| {
        Fault::Corrupt(format!(
            "key {key} holds a text that is not valid UTF-8; remove it"
        ))
    })
}

fn quota(text: &[u8], key: &str) -> Outcome<u64> {
    rows::number(text)
        .filter(|quota| checks::in_range("max_entries", *quota).is_ok())
        .ok_or_else(|| {
            Fault::Corrupt(format!(
                "key {key} holds no number from 0 to 2^53 - 1; set the quota again"
            ))
        })
}
