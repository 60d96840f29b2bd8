//! What the server does when its memory is full.

use redis::Value;

use super::connection::{Call, Wire};
use super::rows;

/// A warning where the server may evict keys: it has a limit of memory, and a policy other than
/// `noeviction`. None where the user may not ask.
pub(super) fn warning(wire: &mut Wire) -> Option<String> {
    let (limit, policy) = configured(wire).or_else(|| told(wire))?;
    let evicts = !matches!(&*policy, "noeviction" | "") && !matches!(&*limit, "0" | "");
    evicts.then(|| {
        format!(
            "the Redis server evicts keys when its memory of {limit} bytes is full (maxmemory-policy {policy}): entries, or a part of what belongs to them, may vanish at any time; set maxmemory-policy to noeviction, and bound the cache by its own limit of entries or by quotas"
        )
    })
}

/// The limit and the policy, by the configuration.
fn configured(wire: &mut Wire) -> Option<(String, String)> {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg("maxmemory*");
    let mut items = texts(wire.ask(Call::Read, &get).ok()?)?.into_iter();
    let (mut limit, mut policy) = (None, None);
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        match &*name {
            "maxmemory" => limit = Some(value),
            "maxmemory-policy" => policy = Some(value),
            _ => {}
        }
    }
    limit.zip(policy)
}

/// The same, by what the server tells of itself.
fn told(wire: &mut Wire) -> Option<(String, String)> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let text = rows::bytes(wire.ask(Call::Read, &info).ok()?).ok()??;
    let text = String::from_utf8(text).ok()?;
    let field = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    field("maxmemory").zip(field("maxmemory_policy"))
}

fn texts(reply: Value) -> Option<Vec<String>> {
    let items = rows::list(reply).ok()?.into_iter();
    items
        .map(|item| String::from_utf8(rows::bytes(item).ok()??).ok())
        .collect()
}
