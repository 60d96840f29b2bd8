//! Native archives for stores of another kind: they are restored in a private store of the
//! archive's kind, and dumped from there as portable ones.

use super::archive::{Archive, Watch};
use super::calls;
use super::options::{DumpOptions, LoadOptions};
use super::scratch::{Scratch, temporary};
use crate::cache::SemanticCache;
use crate::component::{Engine, Instance};
use crate::contract::api::Options;
use crate::contract::checkpoint::{self as api, Layout, LoadReport, Manifest};
use crate::error::{Error, Result};
use crate::imports::State;
use std::fs::File;
use std::io::{Read, Seek};

/// Loads an archive, converting it if it must be.
pub(super) fn load<R: Read + Send + 'static>(
    cache: &SemanticCache,
    archive: R,
    options: LoadOptions,
) -> Result<LoadReport> {
    let LoadOptions { choice, watch } = options;
    let (report, archive) = calls::load_in_turns(cache, archive, watch, &choice);
    let (Err(Error::Unsupported(_)), Some((archive, watch))) = (&report, archive) else {
        return report;
    };
    let instance = cache.instance()?;
    let conversion = Conversion {
        engine: instance.engine.clone(),
        like: instance.options.clone(),
        max_expansion: choice.max_expansion,
    };
    // The others go on while it is converted.
    drop(instance);
    let (manifest, portable, watch) = match conversion.convert(archive, watch) {
        Ok(Some(converted)) => converted,
        // Converting would not help, so what was said first holds.
        Ok(None) | Err(Error::Unsupported(_)) => return report,
        Err(error) => return Err(error),
    };
    let (report, _) = calls::load_in_turns(cache, portable, watch, &choice);
    Ok(LoadReport {
        manifest,
        ..report?
    })
}

/// How to convert an archive.
struct Conversion {
    engine: Engine,
    /// The options of the cache that is loaded into.
    like: Options,
    max_expansion: u32,
}

impl Conversion {
    /// The archive's manifest and its content as a portable archive, in a file that has no
    /// name. None where it was portable before.
    fn convert(
        self,
        archive: impl Read + Send + 'static,
        watch: Option<Watch>,
    ) -> Result<Option<(Manifest, File, Option<Watch>)>> {
        let scratch = Scratch::new()?;
        let converted = self.through(&scratch, archive, watch);
        converted.map_err(|error| scratch.unnamed(error))
    }

    fn through(
        self,
        scratch: &Scratch,
        archive: impl Read + Send + 'static,
        watch: Option<Watch>,
    ) -> Result<Option<(Manifest, File, Option<Watch>)>> {
        let state = State::alone(scratch.store());
        let like = self.like;
        let options = |defaults: Options| Options {
            normalize: like.normalize,
            max_query_bytes: like.max_query_bytes,
            max_response_bytes: like.max_response_bytes,
            max_metadata_bytes: like.max_metadata_bytes,
            ..defaults
        };
        let (fingerprint, dim) = (&like.embedder_fingerprint, like.embedder_dim);
        let mut instance = Instance::open(self.engine, state, options, fingerprint, dim)?;

        let choice = api::LoadOptions {
            max_expansion: self.max_expansion,
            ..LoadOptions::new().choice
        };
        let archive = Archive::reading(archive, watch);
        let (report, archive) = calls::load(&mut instance, archive, &choice);
        let manifest = report?.manifest;
        if manifest.layout == Layout::Portable {
            return Ok(None);
        }
        let watch = archive.and_then(|archive| archive.into_parts::<()>().1);

        let portable = tempfile::tempfile().map_err(|error| temporary(&error))?;
        let options = DumpOptions::new().layout(Layout::Portable).level(0);
        let (_, mut portable, _) = calls::dump(&mut instance, portable, options)?;
        portable.rewind().map_err(|error| temporary(&error))?;
        instance.close()?;
        Ok(Some((manifest, portable, watch)))
    }
}
