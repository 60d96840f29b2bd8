//! Reading an archive: each member is checked in its order, and at the end the checksums.

use super::compression::{Decompressor, Sizes};
use super::rows::{Entries, PageReader};
use super::state::State;
use super::tarball::{Member, TarReader};
use super::{
    CHECKSUMS, Checksum, Checksums, Limits, MANIFEST, MAX_DESCRIPTION_BYTES, MAX_UNKNOWN_MEMBERS,
    MAX_VECTORS_BYTES, SNAPSHOT, STATE, manifest, page_names, refused, refused_at,
};
use crate::error::Result;
use crate::host::Archive;
use crate::types::{Compression, Entry, Layout, Manifest};
use sha2::{Digest, Sha256};

/// Bytes of a snapshot that are passed on at a time.
const SNAPSHOT_STEP: usize = 1 << 20;
/// Bytes of other members that are read at a time.
const STEP: usize = 64 << 10;
/// A row that is longer gets room for the longest at once.
const LINE: usize = 1 << 20;
/// The most room that a row gets at once.
const LONG_LINE: usize = 32 << 20;

/// One piece of an archive.
pub enum Part<'a> {
    /// The next bytes of a native archive's snapshot, and how many it has in all.
    Snapshot(&'a [u8], u64),
    /// The state of a portable archive, which comes before the entries.
    State(State),
    /// The next entry of a portable archive, checked. Ids ascend.
    Entry(Entry),
}

/// What an archive contained.
pub struct Verified {
    /// The entries of all pages.
    pub entries: u64,
    /// The sizes of the whole archive.
    pub sizes: Sizes,
    /// Whether it had checksums to compare with.
    pub checksummed: bool,
}

/// A member that has been read.
struct Seen {
    member: Checksum,
    /// Whether it is part of the format.
    known: bool,
}

/// An archive whose manifest has been read.
pub struct Reader<'a, A: Archive> {
    tar: TarReader<'a, A>,
    manifest: Manifest,
    compression: Compression,
    members: Vec<Seen>,
    unknown: u32,
    entries: u64,
    limits: Limits,
}

impl<'a, A: Archive> Reader<'a, A> {
    /// Reads the manifest. Entries must be within these limits.
    pub fn open(archive: &'a A, max_expansion: u32, limits: Limits) -> Result<Self> {
        let decompressor = Decompressor::new(archive, max_expansion)?;
        let compression = decompressor.compression();
        let mut tar = TarReader::new(decompressor);
        let text = match tar.next()? {
            Some(member) if member.name == MANIFEST => tar.read_all(MAX_DESCRIPTION_BYTES)?,
            other => {
                let found = other.map_or("nothing".into(), |member| format!("{:?}", member.name));
                return Err(refused_at(
                    "the archive",
                    format!(
                        "it begins with {found} instead of {MANIFEST:?}, so it is not a checkpoint"
                    ),
                ));
            }
        };
        Ok(Reader {
            tar,
            manifest: manifest::decode(&text)?,
            compression,
            members: vec![Seen {
                member: Checksum::of(MANIFEST, &text),
                known: true,
            }],
            unknown: 0,
            entries: 0,
            limits,
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How the archive is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Reads the rest, and hands each part to `take`. The parts are reliable only once this has
    /// returned without an error.
    pub fn read(mut self, take: &mut dyn FnMut(Part) -> Result<()>) -> Result<Verified> {
        match self.manifest.layout {
            Layout::Native => self.snapshot(take)?,
            Layout::Portable => {
                self.expect(STATE)?;
                let text = self.whole(STATE, MAX_DESCRIPTION_BYTES)?;
                take(Part::State(State::decode(&text)?))?;
            }
        }
        let mut page = 0;
        let mut entries = Entries::new(self.manifest.embedder_dim, self.limits);
        let mut checksums = None;
        while let Some(member) = self.next()? {
            if checksums.is_some() {
                return Err(refused(
                    &member.name,
                    format!("it comes after {CHECKSUMS:?}"),
                ));
            }
            let (vectors, lines) = page_names(page + 1);
            if member.name == CHECKSUMS && self.manifest.written_by.is_some() {
                checksums = Some(self.tar.read_all(MAX_DESCRIPTION_BYTES)?);
            } else if self.manifest.layout == Layout::Portable && member.name == vectors {
                page += 1;
                let vectors = self.whole(&vectors, MAX_VECTORS_BYTES)?;
                let size = self.expect(&lines)?;
                let most = self.limits.rows();
                if size > most {
                    let reason = format!("it has {size} bytes and may have {most}");
                    return Err(refused(&lines, reason));
                }
                let dim = self.manifest.embedder_dim;
                let reader = PageReader::new(page, vectors, dim, self.limits);
                let hash = self.rows(reader, &mut entries, take)?;
                self.seen(Checksum::new(&lines, size, hash), true);
            } else {
                self.pass_over(&member)?;
            }
        }
        let checksummed = checksums.is_some();
        match checksums {
            Some(text) => self.compare(&text)?,
            None if self.manifest.written_by.is_some() => {
                return Err(refused(
                    CHECKSUMS,
                    "it is missing; the archive is incomplete",
                ));
            }
            None => {}
        }
        Ok(Verified {
            entries: self.entries,
            sizes: self.tar.finish()?,
            checksummed,
        })
    }

    /// Hands the rows of the present member to `take`, and returns its hash.
    fn rows(
        &mut self,
        mut page: PageReader,
        entries: &mut Entries,
        take: &mut dyn FnMut(Part) -> Result<()>,
    ) -> Result<Sha256> {
        let (mut buffer, mut line) = (vec![0; STEP], Vec::new());
        let mut hash = Sha256::new();
        loop {
            let read = self.tar.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            let bytes = &buffer[..read];
            hash.update(bytes);
            for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                let length = line.len() + piece.len();
                if length > page.max_line() {
                    return Err(page.refuse(format!(
                        "it has more than {} bytes, too many for an entry",
                        page.max_line()
                    )));
                }
                // Room that is not used costs nothing, and moving a long line costs twice.
                if length > line.capacity() && length > LINE {
                    line.reserve_exact(page.max_line().min(LONG_LINE).max(length) - line.len());
                }
                line.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    take(Part::Entry(page.entry(&line, entries)?))?;
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            return Err(page.refuse("it has no end"));
        }
        self.entries += page.finish()?;
        Ok(hash)
    }

    fn snapshot(&mut self, take: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        let size = self.expect(SNAPSHOT)?;
        let mut buffer = vec![0; SNAPSHOT_STEP];
        let mut hash = Sha256::new();
        let mut filled = 0;
        loop {
            let read = self.tar.read(&mut buffer[filled..])?;
            filled += read;
            if filled == buffer.len() || (read == 0 && filled > 0) {
                hash.update(&buffer[..filled]);
                take(Part::Snapshot(&buffer[..filled], size))?;
                filled = 0;
            }
            if read == 0 {
                break;
            }
        }
        self.seen(Checksum::new(SNAPSHOT, size, hash), true);
        Ok(())
    }

    /// The next member, whose name must be new.
    fn next(&mut self) -> Result<Option<Member>> {
        let member = self.tar.next()?;
        if let Some(member) = &member
            && (member.name == MANIFEST
                || member.name == SNAPSHOT
                || member.name == STATE && self.manifest.layout == Layout::Portable)
            && self
                .members
                .iter()
                .any(|seen| seen.member.name == member.name)
        {
            return Err(refused(&member.name, "it comes twice"));
        }
        Ok(member)
    }

    /// The next member, which must have this name. Returns its size.
    fn expect(&mut self, name: &str) -> Result<u64> {
        match self.next()? {
            Some(member) if member.name == name => Ok(member.size),
            Some(member) => Err(refused(
                &member.name,
                format!("it stands where {name:?} belongs"),
            )),
            None => Err(refused(name, "it is missing; the archive is incomplete")),
        }
    }

    fn whole(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let bytes = self.tar.read_all(limit)?;
        self.seen(Checksum::of(name, &bytes), true);
        Ok(bytes)
    }

    /// Skips a member that this release does not know.
    fn pass_over(&mut self, member: &Member) -> Result<()> {
        let known = ["vectors/", "entries/"];
        if self.manifest.layout == Layout::Portable
            && known.iter().any(|folder| member.name.starts_with(folder))
        {
            return Err(refused(
                &member.name,
                "it does not follow the page before it; pages are numbered from 1, vectors before entries",
            ));
        }
        self.unknown += 1;
        if self.unknown > MAX_UNKNOWN_MEMBERS {
            return Err(refused(
                &member.name,
                format!(
                    "the archive has more than {MAX_UNKNOWN_MEMBERS} members that are not part of a checkpoint"
                ),
            ));
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; STEP];
        loop {
            let read = self.tar.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        self.seen(Checksum::new(&member.name, member.size, hash), false);
        Ok(())
    }

    /// Compares what was read with what was written. Others may have added members in between.
    fn compare(&self, text: &[u8]) -> Result<()> {
        let checksums: Checksums =
            serde_json::from_slice(text).map_err(|error| refused(CHECKSUMS, error))?;
        let mut written = checksums.members.iter().peekable();
        for Seen { member, known } in &self.members {
            match written.next_if(|written| written.name == member.name) {
                Some(written) if written == member => {}
                Some(_) => {
                    return Err(refused(
                        &member.name,
                        "it is damaged: its SHA-256 or size is not the one that was written",
                    ));
                }
                None if *known => {
                    return Err(refused(
                        &member.name,
                        format!("{CHECKSUMS:?} does not list it in this place"),
                    ));
                }
                None => {}
            }
        }
        if let Some(missing) = written.next() {
            return Err(refused(
                &missing.name,
                "it is missing; the archive is incomplete",
            ));
        }
        let entries = (self.manifest.layout == Layout::Portable).then_some(self.entries);
        if checksums.entries != entries {
            return Err(refused(
                CHECKSUMS,
                format!(
                    "it counts {:?} entries, and the archive has {entries:?}",
                    checksums.entries
                ),
            ));
        }
        Ok(())
    }

    fn seen(&mut self, member: Checksum, known: bool) {
        self.members.push(Seen { member, known });
    }
}
