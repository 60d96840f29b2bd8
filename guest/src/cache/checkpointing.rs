//! Dump, load and inspect.

use super::Cache;
use crate::error::{Result, invalid};
use crate::host::{Archive, Host};
use crate::store::Store;
use crate::types::{DumpOptions, DumpReport, LoadOptions, LoadReport, Summary};

impl<S: Store, H: Host> Cache<S, H> {
    /// See `checkpoint.dump`.
    pub fn dump(&mut self, options: &DumpOptions, archive: &impl Archive) -> Result<DumpReport> {
        let _ = (options, archive.read(0));
        Err(invalid("being written"))
    }

    /// See `checkpoint.load`.
    pub fn load(&mut self, options: LoadOptions, archive: &impl Archive) -> Result<LoadReport> {
        let _ = (options, archive.read(0));
        Err(invalid("being written"))
    }

    /// See `checkpoint.inspect`.
    pub fn inspect(&mut self, max_expansion: u32, archive: &impl Archive) -> Result<Summary> {
        let _ = (max_expansion, archive.read(0));
        Err(invalid("being written"))
    }
}
