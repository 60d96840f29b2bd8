//! The format of an index in the store: the basis and the codes. With them the index answers before
//! any vector has been read.
//!
//! All numbers are little-endian. A sequence of bytes holds, in this order:
//!
//! | what | as |
//! |---|---|
//! | `mni4`, dimensions, directions, 1 for int8 or 0 | u32 each |
//! | the directions, and the numbers of the scales | f32 each |
//! | rows when the basis was learned, rows added since | u32 each |
//! | of each scope: length of the namespace + 1, namespace | u32, UTF-8 |
//! | 0 for the empty context, or 1 and 128 bits of its SHA-256 | byte, bytes |
//! | of each block: number of rows, 1 if they have codes or 0 | u32, byte |
//! | ids, stamps | u64 each, u32 each |
//! | with codes: the errors of heads and details | f32 each |
//! | number of outliers, outliers | u32, u16 each |
//! | heads, details | bytes |
//! | for int8: codes, scales, errors | bytes, f32 each, f32 each |
//! | after the blocks: 0 | u32 |
//! | of each graph: number of blocks, their first ids, length, graph | u32, u64 each, u32, bytes |
//! | after the graphs: 0 | u32 |
//! | after the scopes: 0 | u32 |
//!
//! Reading checks everything. Any inconsistency is an error, and then the index is built from the
//! entries.

use super::basis::{Basis, directions};
use super::block::{Block, block_rows};
use super::coded::Coded;
use super::codes::padded;
use super::projections::Errors;
use super::room::{check_room, no_memory};
use super::rows::{KeptGraph, Rows};
use super::scales::{Scales, detail_bytes};
use super::scopes::Digest;
use super::vectors::Vectors;
use super::{Index, PER_PLACED};
use crate::error::Result;
use crate::types::{Error, VectorDtype};
use mneme_kernels::numbers::Number;
use mneme_kernels::{HEAD_BYTES, QUAD};
use std::rc::Rc;

/// The first four bytes. Another format has other bytes.
const MAGIC: u32 = u32::from_le_bytes(*b"mni4");

/// Small scopes are written and read together, as many as have so many bytes.
const PART_BYTES: usize = if cfg!(test) { 1 } else { 64 << 10 };

/// A place to read the bytes of an index from.
pub trait Source {
    /// Fills `bytes` with the next bytes.
    fn read(&mut self, bytes: &mut [u8]) -> Result<()>;
    /// How many bytes are left.
    fn left(&self) -> usize;
}

#[cfg(any(test, feature = "testing"))]
impl Source for &[u8] {
    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        let (first, rest) = self
            .split_at_checked(bytes.len())
            .ok_or_else(|| damaged("it ends too early"))?;
        bytes.copy_from_slice(first);
        *self = rest;
        Ok(())
    }

    fn left(&self) -> usize {
        self.len()
    }
}

/// The error of a stored index with something wrong.
pub fn damaged(what: &str) -> Error {
    Error::Corrupt(format!("the index kept in the store is damaged: {what}"))
}

fn write_count(bytes: &mut Vec<u8>, count: usize) -> Result<()> {
    let count = u32::try_from(count).map_err(|_| damaged("it is too large"))?;
    u32::append(&[count], bytes);
    Ok(())
}

fn read<T: Number>(source: &mut impl Source, count: usize) -> Result<Vec<T>> {
    let size = count.checked_mul(T::BYTES);
    let size = size.filter(|&size| size <= source.left());
    let size = size.ok_or_else(|| damaged("it ends too early"))?;
    // As bytes, and as numbers.
    check_room(size.saturating_mul(2)).map_err(|_| no_memory_for(source.left()))?;
    let mut bytes = vec![0; size];
    source.read(&mut bytes)?;
    Ok(T::list(&bytes))
}

/// The error of a stored index that memory is too short for, with so many bytes left to read.
pub fn no_memory_for(left: usize) -> Error {
    no_memory(format_args!(
        "the vector index that is kept in the store, of which {left} bytes were still to be read"
    ))
}

fn read_one<T: Number>(source: &mut impl Source) -> Result<T> {
    let mut bytes = [0; 8];
    let bytes = &mut bytes[..T::BYTES];
    source.read(bytes)?;
    Ok(T::of(bytes))
}

fn read_count(source: &mut impl Source) -> Result<usize> {
    Ok(read_one::<u32>(source)? as usize)
}

fn expect(condition: bool, what: &str) -> Result<()> {
    condition.then_some(()).ok_or_else(|| damaged(what))
}

/// How far an index has been written.
///
/// The index may change between two parts. What is written then has some rows as they were at the
/// beginning, and others as they were later: who reads it compares it with the store.
#[derive(Default)]
pub struct Cursor {
    /// Once the head is written: the basis of all codes.
    basis: Option<Rc<Basis>>,
    /// The last scope that has been begun.
    last: Option<(String, Digest)>,
    /// In the middle of a scope.
    space: Option<Space>,
}

/// See [`Cursor`].
struct Space {
    /// Its position in the index.
    number: usize,
    /// The last id that was written; none after all blocks.
    last_id: Option<u64>,
    /// The least number of the next segment.
    segment: u32,
}

/// See [`Index::write_part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// There is more to write.
    Part,
    /// That was the last part.
    All,
    /// The codes are no longer those of the beginning. What is written is useless.
    Outdated,
}

impl Index {
    /// Writes the index as a whole. All rows must have codes (see
    /// [`is_encoded`](Self::is_encoded)).
    #[cfg(any(test, feature = "testing"))]
    pub fn write(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut cursor = Cursor::default();
        loop {
            match self.write_part(&mut cursor, bytes)? {
                Written::Part => {}
                Written::All => return Ok(()),
                Written::Outdated => return Err(damaged("a block has no codes")),
            }
        }
    }

    /// Writes the next part: the head, a block, a graph, or many small scopes.
    pub fn write_part(&self, cursor: &mut Cursor, bytes: &mut Vec<u8>) -> Result<Written> {
        let enough = bytes.len() + PART_BYTES;
        loop {
            let written = self.write_next(cursor, bytes)?;
            if written != Written::Part || bytes.len() >= enough {
                return Ok(written);
            }
        }
    }

    fn write_next(&self, cursor: &mut Cursor, bytes: &mut Vec<u8>) -> Result<Written> {
        let Some(basis) = &self.basis else {
            return Ok(Written::Outdated);
        };
        match &cursor.basis {
            None => {
                self.write_head(basis, bytes)?;
                cursor.basis = Some(Rc::clone(basis));
                return Ok(Written::Part);
            }
            Some(first) if !Rc::ptr_eq(first, basis) => return Ok(Written::Outdated),
            Some(_) => {}
        }
        let Some(space) = &mut cursor.space else {
            let Some((name, context, number)) = self.scopes.next(cursor.last.as_ref()) else {
                write_count(bytes, 0)?;
                return Ok(Written::All);
            };
            write_count(bytes, name.len() + 1)?;
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(u8::from(context.is_some()));
            bytes.extend(context.into_iter().flatten());
            cursor.last = Some((name, context));
            cursor.space = Some(Space {
                number: number as usize,
                last_id: Some(0),
                segment: 0,
            });
            return Ok(Written::Part);
        };
        let rows = &self.spaces[space.number];
        if let Some(last_id) = space.last_id {
            let next = rows.blocks_after(last_id).iter().find_map(|block| {
                let live = block.live_rows();
                let live: Vec<usize> = live.filter(|&row| block.ids()[row] > last_id).collect();
                Some((block, *live.last()?, live))
            });
            space.last_id = next.as_ref().map(|(block, last, _)| block.ids()[*last]);
            match next {
                Some((block, ..)) if !block.is_coded_in(basis) && !self.is_small(rows) => {
                    return Ok(Written::Outdated);
                }
                Some((block, _, live)) if live.len() < block.rows() => {
                    write_block(bytes, &block.select(&live), basis)?;
                }
                Some((block, ..)) => write_block(bytes, block, basis)?,
                None => write_count(bytes, 0)?,
            }
            return Ok(Written::Part);
        }
        match rows.graph_to_keep(space.segment)? {
            Some((number, graph)) => {
                write_count(bytes, graph.first_ids.len())?;
                u64::append(&graph.first_ids, bytes);
                write_count(bytes, graph.bytes.len())?;
                bytes.extend_from_slice(&graph.bytes);
                space.segment = number + 1;
            }
            None => {
                write_count(bytes, 0)?;
                cursor.space = None;
            }
        }
        Ok(Written::Part)
    }

    fn write_head(&self, basis: &Basis, bytes: &mut Vec<u8>) -> Result<()> {
        u32::append(&[MAGIC], bytes);
        for number in [self.dim, basis.size(), usize::from(self.is_int8())] {
            write_count(bytes, number)?;
        }
        f32::append(basis.directions(), bytes);
        let scales: Vec<f32> = basis.scales().to_floats().collect();
        f32::append(&scales, bytes);
        write_count(bytes, self.learned_rows)?;
        write_count(bytes, self.added.min(u32::MAX as usize / 2))
    }

    /// Reads an index as a whole, as [`Reader`] does in parts.
    #[cfg(any(test, feature = "testing"))]
    pub fn read(source: &mut impl Source, dim: u32, dtype: VectorDtype) -> Result<Self> {
        let mut reader = Reader::new(source, dim, dtype)?;
        while reader.read_part(source)? {}
        Ok(reader.finish())
    }

    /// Whether the rows of a scope are too few for codes.
    fn is_small(&self, rows: &Rows) -> bool {
        rows.live() < self.fewest_to_encode
    }

    fn is_int8(&self) -> bool {
        self.dtype == VectorDtype::Int8
    }
}

/// Reads an index part by part, for the number of dimensions and the dtype that it was written
/// for. Float32 and float16 are stored alike, without their vectors.
pub struct Reader {
    index: Index,
    basis: Rc<Basis>,
    space: Option<ReadSpace>,
}

/// The scope that is being read.
struct ReadSpace {
    namespace: String,
    context: Digest,
    rows: Rows,
    graphs: Vec<KeptGraph>,
    has_all_blocks: bool,
}

impl Reader {
    /// Reads the head.
    pub fn new(source: &mut impl Source, dim: u32, dtype: VectorDtype) -> Result<Self> {
        let mut index = Index::new(dim, dtype);
        let dim = index.dim;
        expect(read_one::<u32>(source)? == MAGIC, "it has another format")?;
        expect(read_count(source)? == dim, "it has other dimensions")?;
        let k = read_count(source)?;
        expect(k == directions(dim), "its basis has another size")?;
        let is_int8 = read_count(source)? == 1;
        expect(is_int8 == index.is_int8(), "it is for another dtype")?;
        let rows = read(source, k * dim)?;
        let scales = Scales::from_floats(read(source, k + 2)?);
        let basis = scales.and_then(|scales| Basis::new(dim, rows, scales));
        let basis = Rc::new(basis.ok_or_else(|| damaged("its basis is not valid"))?);
        index.learned_rows = read_count(source)?;
        index.added = read_count(source)?;
        Ok(Reader {
            index,
            basis,
            space: None,
        })
    }

    /// Reads the next part: a block, a graph, or many small scopes. False at the end.
    pub fn read_part(&mut self, source: &mut impl Source) -> Result<bool> {
        let enough = source.left().saturating_sub(PART_BYTES);
        loop {
            let more = self.read_next(source)?;
            if !more || source.left() <= enough {
                return Ok(more);
            }
        }
    }

    fn read_next(&mut self, source: &mut impl Source) -> Result<bool> {
        let index = &mut self.index;
        let Some(space) = &mut self.space else {
            let Some(length) = read_count(source)?.checked_sub(1) else {
                expect(source.left() == 0, "it goes on after its end")?;
                return Ok(false);
            };
            let namespace = String::from_utf8(read(source, length)?)
                .map_err(|_| damaged("a namespace is not UTF-8"))?;
            let context = match read_one::<u8>(source)? {
                0 => None,
                1 => {
                    let mut digest = [0; 16];
                    source.read(&mut digest)?;
                    Some(digest)
                }
                _ => return Err(damaged("a context is not valid")),
            };
            self.space = Some(ReadSpace {
                namespace,
                context,
                rows: Rows::new(index.dim, index.dtype),
                graphs: Vec::new(),
                has_all_blocks: false,
            });
            return Ok(true);
        };
        let count = read_count(source)?;
        if !space.has_all_blocks {
            if count == 0 {
                space.has_all_blocks = true;
            } else {
                let block = read_block(source, count, &self.basis, index.is_int8())?;
                expect(space.rows.append(block), "its ids do not ascend")?;
            }
            return Ok(true);
        }
        if count > 0 {
            let first_ids: Vec<u64> = read(source, count)?;
            let ascend = first_ids.is_sorted_by(|a, b| a < b);
            expect(ascend, "a graph's blocks do not ascend")?;
            let length = read_count(source)?;
            let bytes = read(source, length)?;
            space.graphs.push(KeptGraph { first_ids, bytes });
            return Ok(true);
        }
        if let Some(mut space) = self.space.take() {
            space.rows.set_kept_graphs(space.graphs);
            let twice = index.scopes.has(&space.namespace, &space.context);
            expect(!twice, "a namespace and context come twice")?;
            let number = index.scopes.add(&space.namespace, space.context);
            if space.context.is_some() {
                let places = space.rows.live().saturating_mul(PER_PLACED);
                check_room(places).map_err(|_| no_memory_for(source.left()))?;
                let ids = space.rows.blocks().iter().flat_map(Block::ids);
                index.placed.extend(ids.map(|id| (*id, number)));
            }
            index.live += space.rows.live();
            index.greatest = index.greatest.max(space.rows.last_id().unwrap_or(0));
            index.spaces.push(space.rows);
        }
        Ok(true)
    }

    /// The index, after the end.
    pub fn finish(self) -> Index {
        let mut index = self.index;
        index.basis = Some(self.basis);
        index.absent_after = (!index.is_int8() && index.rows() > 0).then_some(0);
        index
    }
}

fn write_block(bytes: &mut Vec<u8>, block: &Block, basis: &Rc<Basis>) -> Result<()> {
    let coded = block.coded().filter(|_| block.is_coded_in(basis));
    write_count(bytes, block.rows())?;
    bytes.push(u8::from(coded.is_some()));
    u64::append(block.ids(), bytes);
    u32::append(block.stamps(), bytes);
    if let Some(coded) = coded {
        f32::append(&[coded.errors.head, coded.errors.detail], bytes);
        write_count(bytes, coded.outliers.len())?;
        u16::append(&coded.outliers, bytes);
        bytes.extend_from_slice(&coded.heads);
        i8::append(&coded.details, bytes);
    }
    if let Vectors::Int8 {
        codes,
        scales,
        errors,
    } = block.vectors()
    {
        i8::append(codes, bytes);
        f32::append(scales, bytes);
        f32::append(errors, bytes);
    }
    Ok(())
}

fn read_block(
    source: &mut impl Source,
    rows: usize,
    basis: &Rc<Basis>,
    is_int8: bool,
) -> Result<Block> {
    let dim = basis.dim();
    expect(
        (1..=block_rows(dim)).contains(&rows),
        "a block has another size",
    )?;
    let has_codes = read_one::<u8>(source)?;
    expect(has_codes <= 1, "a block is not valid")?;
    let ids: Vec<u64> = read(source, rows)?;
    expect(
        ids[0] > 0 && ids.is_sorted_by(|a, b| a < b),
        "its ids do not ascend",
    )?;
    let stamps = read(source, rows)?;
    let coded = match has_codes == 1 {
        true => Some(read_codes(source, rows, basis, is_int8)?),
        false => None,
    };
    let mut vectors = Vectors::Absent;
    if is_int8 {
        let codes: Vec<i8> = read(source, rows * padded(dim))?;
        let scales: Vec<f32> = read(source, rows)?;
        let errors: Vec<f32> = read(source, rows)?;
        // No value of a unit vector is greater than 1.
        let are_scales = scales.iter().all(|scale| (0.0..=0.008).contains(scale));
        expect(are_scales, "a scale is out of range")?;
        expect(are_lengths(&errors), "an error is out of range")?;
        vectors = Vectors::Int8 {
            codes: codes.into(),
            scales,
            errors,
        };
    }
    Ok(Block::of_codes(dim, ids, stamps, vectors, coded))
}

fn read_codes(
    source: &mut impl Source,
    rows: usize,
    basis: &Rc<Basis>,
    is_int8: bool,
) -> Result<Coded> {
    let (head, detail) = (read_one(source)?, read_one(source)?);
    expect(are_lengths(&[head, detail]), "an error is out of range")?;
    let outliers = read_count(source)?;
    let outliers: Vec<u16> = read(source, outliers)?;
    let sorted = outliers.is_sorted_by(|a, b| a < b);
    expect(
        sorted && outliers.last().is_none_or(|&last| usize::from(last) < rows),
        "a row is missing",
    )?;
    let heads = read(source, rows.next_multiple_of(QUAD) * HEAD_BYTES)?;
    let detail_bytes = if is_int8 {
        0
    } else {
        detail_bytes(basis.size())
    };
    Ok(Coded {
        basis: Rc::clone(basis),
        heads,
        details: read(source, rows * detail_bytes)?,
        detail_bytes,
        errors: Errors { head, detail },
        outliers,
    })
}

fn are_lengths(values: &[f32]) -> bool {
    values.iter().all(|value| (0.0..=2.0).contains(value))
}
