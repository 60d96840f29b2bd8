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
script!(NAMES, "names");
script!(SETTLE, "tags", "log", "write", "settle");
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
    use std::collections::BTreeSet;

    use super::*;

    /// The commands of Redis in a source, after these words and a quotation mark.
    fn commands(source: &str, before: &[&str], quote: char) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for before in before {
            for (at, _) in source.match_indices(before) {
                let rest = source[at + before.len()..].strip_prefix(quote);
                let name = rest.and_then(|rest| rest.split(quote).next());
                let name = name.filter(|name| name.chars().all(char::is_alphabetic));
                found.extend(name.map(str::to_lowercase));
            }
        }
        found
    }

    /// All of Lua and of this crate that names commands.
    fn sent() -> BTreeSet<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let of = |folder: &str, ending: &str| {
            let files = std::fs::read_dir(folder).unwrap();
            let paths = files.map(|file| file.unwrap().path());
            let paths = paths.filter(|path| path.extension().is_some_and(|end| end == ending));
            let texts = paths.map(|path| std::fs::read_to_string(path).unwrap());
            texts.collect::<String>()
        };
        let lua = of(&format!("{folder}/scripts"), "lua");
        let rust = of(folder, "rs");
        let mut found = commands(&lua, &["call(", "read("], '\'');
        found.extend(commands(&rust, &["redis::cmd(", "about_blobs("], '"'));
        found.extend(["eval", "evalsha"].map(str::to_owned));
        found
    }

    #[test]
    fn the_rights_that_are_listed_are_those_that_are_used() {
        let text = include_str!("production.md");
        let (_, rule) = text.split_once("ACL SETUSER").unwrap();
        let (rule, _) = rule.split_once("```").unwrap();
        let rights = rule
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('+'));
        let mut listed: BTreeSet<String> = rights.map(str::to_owned).collect();
        assert!(listed.len() > 40, "{listed:?}");
        // What is not always needed, or always allowed.
        let more = [
            "readwrite",
            "asking",
            "role",
            "info",
            "config",
            "sentinel",
            "auth",
        ];
        listed.extend(more.map(str::to_owned));
        assert_eq!(listed, sent());
    }

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
