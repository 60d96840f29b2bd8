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
script!(COUNT, "ghosts", "count");
script!(COUNTS, "ghosts", "counts");
script!(LRU, "lru");
script!(EXPIRED, "expiry", "expired");
script!(OPEN, "write", "open");
script!(INSPECT, "write", "walk", "inspect");
script!(INSERT, "write", "given", "place", "insert");
script!(TOUCH, "touch");
script!(DELETE, "write", "delete");
script!(CLEAR, "write", "clearing", "clear");
script!(EXPIRE, "write", "expiry", "expire");
script!(TIDY, "write", "tidy");
script!(SWEEP, "write", "sweep");
script!(META, "meta");
script!(BEGIN, "write", "ghosts", "begin");
script!(STAGE, "staged", "given", "stage");
script!(RENEW, "staged", "renew");
script!(DISCARD, "staged", "discard");
script!(
    COMMIT, "write", "ghosts", "clearing", "place", "staged", "commit"
);
