//! What is done on each new connection of a store that knows several servers: whether this one
//! was used before, as another one may lack the last writes.

use std::fmt::Write;
use std::time::Duration;

use redis::Cmd;

use super::connection::{Broken, Link};
use super::scripts::SETTLE;

/// A mark that a server keeps to itself, and what is done where it has none.
///
/// Redis copies data to replicas later, so a replica that takes over may lack the last writes, and
/// would give their versions and ids to others. [`SETTLE`] moves both counters beyond all that was
/// lost. The mark is a script in the server's memory: replicas have it not, and a server that was
/// restarted has it no more. Before Redis 7 they have scripts in common.
pub(super) struct Settling {
    by_id: String,
    incarnation: Vec<u8>,
    /// A script that does nothing, of this cache only.
    mark: String,
    hash: String,
}

impl Settling {
    pub fn new(by_id: &str, incarnation: &[u8]) -> Self {
        let mut mark = "-- mneme ".to_owned();
        for byte in incarnation {
            // Writing to a text cannot fail.
            let _ = write!(mark, "{byte:02x}");
        }
        mark.push_str("\nreturn 1");
        Self {
            by_id: by_id.to_owned(),
            incarnation: incarnation.to_vec(),
            hash: redis::Script::new(&mark).get_hash().to_owned(),
            mark,
        }
    }

    /// Sees to it that the server has the mark, and returns whether it does. What the server
    /// refuses here it refuses of the request that follows too, and that one has the error.
    pub fn settle(&self, link: &mut Link, timeout: Duration) -> Result<bool, Broken> {
        let mut ask = |command: &Cmd| {
            link.exchange_within(timeout, &command.get_packed_command())
                .map_err(|broken| Broken {
                    // Nothing of the request that follows.
                    sent: false,
                    ..broken
                })
        };
        let call = |name: &str, code: &str, args: &[&[u8]]| {
            let mut command = redis::cmd(name);
            command.arg(code).arg(1).arg(&self.by_id).arg(args);
            command
        };
        match ask(&call("EVALSHA", &self.hash, &[]))?.extract_error() {
            Ok(_) => return Ok(true),
            Err(error) if error.code() == Some("NOSCRIPT") => {}
            Err(_) => return Ok(false),
        }
        let done = ask(&call("EVAL", SETTLE.code, &[&self.incarnation]))?;
        let marked = match done.extract_error() {
            Ok(_) => ask(&call("EVAL", &self.mark, &[]))?.extract_error().is_ok(),
            Err(_) => false,
        };
        Ok(marked)
    }
}
