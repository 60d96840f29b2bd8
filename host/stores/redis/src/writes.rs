//! The operations that change data. Each step is one script.

use std::collections::BTreeMap;

use redis::Value;

use super::error::{Fault, Outcome};
use super::reads::joined;
use super::rows::{self, encode_embedding, tags_field};
use super::scripts;
use super::session::Session;
use mneme_store::checks::GREATEST;
use mneme_store::{Entry, EntryRef, Inserted, Touch};

/// The most entries that one step deletes: some 50 ms during which the server does nothing
/// else.
pub(super) const MAX_DELETE: u32 = 10_000;

/// The most bytes that one call sends. Redis refuses a value of 512 MiB, and cuts the
/// connection of a client that sends 1 GiB in one command.
const MAX_BYTES: usize = 500 * 1024 * 1024;

/// The most values that one call sends. A command takes 1,048,576 arguments.
const MAX_ARGUMENTS: usize = 1_000_000;

/// Members of `by_ttl` that one script looks at.
const EXPIRED_PER_LOOK: u64 = 5000;

/// Expired entries that a script is given beyond those it is to delete, for the case that
/// Redis has expired some in the meantime.
const SPARE: usize = 1000;

/// How often a search for expired entries starts again because others write.
const SEARCHES: u32 = 5;

/// Expired entries that were found and not deleted yet, for as long as nobody writes.
#[derive(Debug)]
pub(super) struct Expired {
    now: u64,
    namespace: Option<String>,
    /// The version counter when they were found.
    version: Vec<u8>,
    /// Descending.
    ids: Vec<u64>,
}

impl Session {
    pub fn insert(&mut self, entries: Vec<Entry>) -> Outcome<Vec<Inserted>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        // The last entry of a pair, at the place of the first.
        let mut places = BTreeMap::new();
        let mut distinct: Vec<&Entry> = Vec::with_capacity(entries.len());
        let mut given = Vec::with_capacity(entries.len());
        for entry in &entries {
            let place = *places
                .entry((&*entry.namespace, &*entry.query_hash))
                .or_insert(distinct.len());
            let again = place < distinct.len();
            match again {
                true => distinct[place] = entry,
                false => distinct.push(entry),
            }
            given.push((place, again));
        }
        let rows = distinct
            .into_iter()
            .map(Row::new)
            .collect::<Outcome<Vec<_>>>()?;
        let args: Vec<&[u8]> = rows.iter().flat_map(Row::arguments).collect();
        check_size(&args)?;
        let reply = rows::list(self.write(&scripts::INSERT, &args)?)?;
        let mut reply = reply.into_iter();
        let mut stored = Vec::with_capacity(rows.len());
        while let (Some(id), Some(replaced)) = (reply.next(), reply.next()) {
            stored.push((self.reader().id(id)?, rows::count(&replaced)? == 1));
        }
        given
            .into_iter()
            .map(|(place, again)| match stored.get(place) {
                Some(&(id, replaced)) => Ok(Inserted {
                    id,
                    replaced: replaced || again,
                }),
                None => Err(rows::nonsense(&Value::Array(Vec::new()))),
            })
            .collect()
    }

    pub fn update_access(&mut self, touches: &[Touch]) -> Outcome<()> {
        let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for touch in touches {
            let (hits, latest) = sums.entry(touch.id).or_default();
            *hits = hits.saturating_add(u64::from(touch.hits)).min(GREATEST);
            *latest = touch.last_accessed_at.max(*latest);
        }
        if sums.is_empty() {
            return Ok(());
        }
        let mut numbers = Vec::with_capacity(sums.len() * 3);
        for (id, (hits, latest)) in sums {
            numbers.extend([id, hits, latest]);
        }
        self.note(&scripts::TOUCH, &[joined(&numbers).as_bytes()])?;
        Ok(())
    }

    pub fn delete_by_id(&mut self, id: u64) -> Outcome<bool> {
        let deleted = self.delete(&format!("{id} -"))?;
        Ok(!deleted.is_empty())
    }

    pub fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Outcome<Vec<u64>> {
        let mut deleted = Vec::new();
        for entries in entries.chunks(MAX_DELETE as usize) {
            // No entry has a greater time, and Lua would take it for another one.
            let numbers: Vec<u64> = entries
                .iter()
                .filter(|entry| entry.created_at <= GREATEST)
                .flat_map(|entry| [entry.id, entry.created_at])
                .collect();
            let named = joined(&numbers);
            deleted.extend(self.briefly(|session| session.delete(&named))?);
        }
        Ok(deleted)
    }

    fn delete(&mut self, named: &str) -> Outcome<Vec<u64>> {
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.write(&scripts::DELETE, &[named.as_bytes()])?;
        let ids = rows::list(reply)?.into_iter();
        ids.map(|id| self.reader().id(id)).collect()
    }

    pub fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<EntryRef>> {
        let mut deleted = Vec::new();
        let mut searches = 0;
        let mut found = self
            .expired
            .take()
            .filter(|found| found.now == now && found.namespace.as_deref() == namespace);
        while deleted.len() < limit as usize {
            let mut expired = match found.take() {
                Some(expired) => expired,
                None => {
                    searches += 1;
                    self.search(now, namespace)?
                }
            };
            let wanted = (limit as usize - deleted.len()).min(MAX_DELETE as usize);
            let rest = expired.ids.len().saturating_sub(wanted + SPARE);
            let mut ids = expired.ids.split_off(rest);
            if ids.is_empty() {
                break;
            }
            ids.reverse();
            // Where others never stop writing, what was found has to do.
            let version: &[u8] = match searches {
                SEARCHES.. => b"-",
                _ => &expired.version,
            };
            let (base, beyond) = sum(now);
            let (named, wanted) = (joined(&ids), wanted.to_string());
            let args = [&base, &beyond, &named, &wanted].map(|arg| arg.as_bytes());
            let args = [&[version], &args[..]].concat();
            let reply = self.write(&scripts::EXPIRE, &args)?;
            if reply == Value::Nil {
                continue;
            }
            let [gone, names, times, version, looked] = rows::tuple(reply)?;
            deleted.extend(self.reader().references(gone, names, times)?);
            expired.version = rows::bytes(version)?.unwrap_or_default();
            let looked = rows::count(&looked)? as usize;
            expired.ids.extend(ids.iter().skip(looked).rev());
            if expired.ids.is_empty() {
                break;
            }
            found = Some(expired);
        }
        self.expired = found;
        Ok(deleted)
    }

    /// Finds what is expired, and clears away what is left of entries that Redis has expired.
    fn search(&mut self, now: u64, namespace: Option<&str>) -> Outcome<Expired> {
        let (base, beyond) = sum(now);
        let limit = EXPIRED_PER_LOOK.to_string();
        let (mut ids, mut outdated) = (Vec::new(), Vec::new());
        let (mut offset, mut first_version, mut surplus) = (0, None, false);
        loop {
            let from = offset.to_string();
            let mut args = [&base, &beyond, &from, &limit]
                .map(|arg| arg.as_bytes())
                .to_vec();
            args.extend(namespace.map(str::as_bytes));
            let reply = self.read(&scripts::EXPIRED, &args)?;
            let [version, members, found, stale, more_records] = rows::tuple(reply)?;
            let version = rows::bytes(version)?.unwrap_or_default();
            let first_version: &mut Vec<u8> = first_version.get_or_insert(version);
            let found = rows::bytes(found)?.unwrap_or_default();
            for id in String::from_utf8_lossy(&found).split_ascii_whitespace() {
                ids.push(self.reader().id_in(id)?);
            }
            outdated.extend(rows::list(stale)?);
            surplus |= rows::count(&more_records)? == 1;
            let members = rows::count(&members)?;
            offset += members;
            if members < EXPIRED_PER_LOOK {
                ids.sort_unstable_by(|a, b| b.cmp(a));
                ids.dedup();
                let version = std::mem::take(first_version);
                self.tidy(outdated, surplus)?;
                return Ok(Expired {
                    now,
                    namespace: namespace.map(str::to_owned),
                    version,
                    ids,
                });
            }
        }
    }

    fn tidy(&mut self, outdated: Vec<Value>, surplus: bool) -> Outcome<()> {
        let outdated = outdated
            .into_iter()
            .filter_map(|member| rows::bytes(member).transpose())
            .collect::<Outcome<Vec<_>>>()?;
        for members in outdated.chunks(1000) {
            let members: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
            self.write(&scripts::TIDY, &members)?;
        }
        let mut cursor = Some(b"0".to_vec()).filter(|_| surplus);
        while let Some(from) = cursor {
            let reply = self.write(&scripts::SWEEP, &[&from])?;
            cursor = rows::bytes(reply)?.filter(|next| next != b"0");
        }
        Ok(())
    }

    pub fn clear_namespace(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let limit = MAX_DELETE.to_string();
        let mut args = vec![limit.as_bytes()];
        args.extend(namespace.map(str::as_bytes));
        let mut deleted = 0;
        loop {
            let [step, more] = rows::tuple(self.write(&scripts::CLEAR, &args)?)?;
            deleted += rows::count(&step)?;
            if rows::count(&more)? == 0 {
                return Ok(deleted);
            }
        }
    }

    pub fn set_namespace_quota(
        &mut self,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Outcome<()> {
        let quota = max_entries.map(|quota| quota.to_string());
        let mut args = vec![namespace.as_bytes()];
        args.extend(quota.as_deref().map(str::as_bytes));
        self.write(&scripts::QUOTA, &args)?;
        Ok(())
    }

    pub fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Outcome<bool> {
        let args: [&[u8]; 5] = [
            key.as_bytes(),
            flag(expected.is_some()),
            expected.unwrap_or_default().as_bytes(),
            flag(value.is_some()),
            value.unwrap_or_default().as_bytes(),
        ];
        let reply = self.note(&scripts::META, &args)?;
        Ok(rows::count(&reply)? == 1)
    }
}

/// Refuses more than one call sends.
pub(super) fn check_size(args: &[&[u8]]) -> Outcome<()> {
    let bytes: usize = args.iter().map(|arg| arg.len()).sum();
    if bytes > MAX_BYTES || args.len() > MAX_ARGUMENTS {
        return Err(Fault::invalid(format!(
            "the call was given {} values of {bytes} bytes; a Redis store takes at most {MAX_ARGUMENTS} values and {MAX_BYTES} bytes a call, so give fewer at once, or smaller ones",
            args.len()
        )));
    }
    Ok(())
}

/// A number as the sum of two that Lua holds exactly. No sum of a time and a ttl is beyond
/// the greatest of them.
fn sum(number: u64) -> (String, String) {
    let base = number.min(GREATEST);
    let beyond = (number - base).min(GREATEST);
    (base.to_string(), beyond.to_string())
}

/// A choice as an argument, such as whether another one is given.
pub(super) fn flag(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}

/// An entry as arguments; see `given.lua`.
pub(super) struct Row<'a> {
    entry: &'a Entry,
    embedding: Vec<u8>,
    created_at: String,
    last_accessed_at: String,
    ttl: String,
    access_count: String,
    expires: String,
    tags: String,
}

impl<'a> Row<'a> {
    pub fn new(entry: &'a Entry) -> Outcome<Self> {
        if entry.query_hash.contains(':') {
            return Err(Fault::invalid(
                "query_hash has a colon, which a Redis store cannot tell from the one after the namespace; give 64 hexadecimal digits",
            ));
        }
        let mut embedding = Vec::new();
        encode_embedding(&entry.embedding, &mut embedding);
        let (ttl, expires) = match entry.ttl {
            None => (String::new(), String::new()),
            // Neither is above 2^53 - 1, so the sum is a number.
            Some(ttl) => (ttl.to_string(), (entry.created_at + ttl).to_string()),
        };
        Ok(Self {
            embedding,
            created_at: entry.created_at.to_string(),
            last_accessed_at: entry.last_accessed_at.to_string(),
            ttl,
            access_count: entry.access_count.to_string(),
            expires,
            tags: tags_field(&entry.tags),
            entry,
        })
    }

    pub fn arguments(&self) -> [&[u8]; 13] {
        [
            self.entry.namespace.as_bytes(),
            self.entry.query_hash.as_bytes(),
            self.entry.query.as_bytes(),
            self.entry.response.as_bytes(),
            &self.embedding,
            self.entry.metadata.as_bytes(),
            self.created_at.as_bytes(),
            self.last_accessed_at.as_bytes(),
            self.ttl.as_bytes(),
            self.access_count.as_bytes(),
            self.expires.as_bytes(),
            self.entry.context.as_bytes(),
            self.tags.as_bytes(),
        ]
    }
}
