//! The Lua scripts. Each is one atomic step on the server.

use std::sync::LazyLock;

/// A script with the name that Redis gives it.
#[derive(Debug)]
pub(super) struct Script {
    pub code: &'static str,
    hash: LazyLock<String>,
}

impl Script {
    /// The SHA-1 of the code, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The command of Redis that stands in a line, counted from 1.
    pub fn command_at(&self, line: usize) -> Option<&'static str> {
        let line = self.code.lines().nth(line.checked_sub(1)?)?;
        let start = line.find("call('")? + "call('".len();
        let name = &line[start..];
        Some(&name[..name.find('\'')?])
    }
}

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: Script = Script {
            code: concat!(
                include_str!("scripts/common.lua"),
                $("\n", include_str!(concat!("scripts/", $file, ".lua"))),+
            ),
            hash: LazyLock::new(|| redis::Script::new($name.code).get_hash().to_owned()),
        };
    };
}

script!(FIND, "fields", "find");
script!(ROWS, "fields", "rows");
script!(SINCE, "walk", "fields", "since");
script!(VECTORS, "walk", "vectors");
script!(STAMPS, "walk", "stamps");
script!(CHANGES, "log", "changes");
script!(SELECT, "tags", "walk", "select");
script!(COUNT, "ghosts", "count");
script!(COUNTS, "ghosts", "counts");
script!(LRU, "lru");
script!(EXPIRED, "expiry", "expired");
script!(OPEN, "tags", "log", "write", "open");
script!(INSPECT, "tags", "log", "write", "walk", "inspect");
script!(INSERT, "tags", "log", "write", "given", "place", "insert");
script!(TOUCH, "touch");
script!(DELETE, "tags", "log", "write", "delete");
script!(CLEAR, "tags", "log", "write", "clearing", "clear");
script!(EXPIRE, "tags", "log", "write", "expiry", "expire");
script!(TIDY, "tags", "log", "write", "tidy");
script!(SWEEP, "tags", "log", "write", "sweep");
script!(META, "meta");
script!(QUOTA, "quota");
script!(BLOB, "blob");
script!(DELETE_BLOBS, "blobs");
script!(BEGIN, "tags", "log", "write", "ghosts", "begin");
script!(STAGE, "staged", "given", "stage");
script!(RENEW, "staged", "renew");
script!(DISCARD, "staged", "discard");
script!(
    COMMIT, "tags", "log", "write", "ghosts", "clearing", "place", "staged", "commit"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_command() {
        let at = |text: &str| {
            let lines = BEGIN.code.lines();
            lines.take_while(|line| !line.contains(text)).count() + 1
        };
        assert_eq!(BEGIN.command_at(at("local time =")), Some("TIME"));
        assert_eq!(BEGIN.command_at(at("while redis")), Some("EXISTS"));
        assert_eq!(BEGIN.command_at(at("local GREATEST")), None);
        assert_eq!((BEGIN.command_at(0), BEGIN.command_at(9999)), (None, None));
    }
}
