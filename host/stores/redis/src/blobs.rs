//! Blobs: what the cache has derived from the entries, in one hash.

use super::connection::Call;
use super::error::{Fault, Outcome};
use super::rows;
use super::scripts;
use super::session::Session;

const BLOBS: &str = "blobs";

impl Session {
    pub fn read_blob(&mut self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let reply = self.about_blobs("HGET", |command| {
            command.arg(name);
        })?;
        rows::bytes(reply)
    }

    pub fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Outcome<()> {
        self.write(&scripts::BLOB, &[name.as_bytes(), &bytes])?;
        Ok(())
    }

    pub fn delete_blobs(&mut self, names: &[String]) -> Outcome<()> {
        if !names.is_empty() {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            self.write(&scripts::DELETE_BLOBS, &names)?;
        }
        Ok(())
    }

    pub fn list_blobs(&mut self) -> Outcome<Vec<String>> {
        let reply = self.about_blobs("HKEYS", |_| {})?;
        let mut names = Vec::new();
        for name in rows::list(reply)? {
            let name = rows::bytes(name)?.unwrap_or_default();
            names.push(String::from_utf8(name).map_err(|_| {
                Fault::Corrupt(format!(
                    "key {} has a field that is not valid UTF-8; delete that field",
                    self.key(BLOBS)
                ))
            })?);
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Runs a command that reads the hash, with the arguments that `give` adds.
    fn about_blobs(
        &mut self,
        name: &str,
        give: impl FnOnce(&mut redis::Cmd),
    ) -> Outcome<redis::Value> {
        let key = self.key(BLOBS);
        let mut command = redis::cmd(name);
        command.arg(&key);
        give(&mut command);
        self.ask(Call::Read, &command, &key)
    }
}
