//! The format of an index in the store: the basis and the codes. With them the index answers before
//! any vector has been read.
//!
//! All numbers are little-endian. A sequence of bytes holds, in this order:
//!
//! | what | as |
//! |---|---|
//! | `mni1`, dimensions, directions, 1 for int8 or 0 | u32 each |
//! | the directions, and the numbers of the scales | f32 each |
//! | rows when the basis was learned, rows added since | u32 each |
//! | number of namespaces | u32 |
//! | of each: length of the name, name, number of blocks | u32, UTF-8, u32 |
//! | of each block: number of rows, ids, stamps | u32, u64 each, u32 each |
//! | the errors of heads and details | f32 each |
//! | number of outliers, outliers | u32, u16 each |
//! | heads, details | bytes |
//! | for int8: codes, scales, errors | bytes, f32 each, f32 each |
//! | of each namespace, after its blocks: number of graphs | u32 |
//! | of each: number of blocks, their first ids, length, graph | u32, u64 each, u32, bytes |
//!
//! Reading checks everything. Any inconsistency is an error, and then the index is built from the
//! entries.

use super::Index;
use super::basis::{Basis, directions};
use super::block::{Block, block_rows};
use super::coded::Coded;
use super::codes::padded;
use super::projections::Errors;
use super::rows::{KeptGraph, Rows};
use super::scales::{Scales, detail_bytes};
use super::vectors::Vectors;
use crate::error::Result;
use crate::options::MAX_NAME_BYTES;
use crate::types::{Error, VectorDtype};
use mneme_kernels::numbers::Number;
use mneme_kernels::{HEAD_BYTES, QUAD};
use std::rc::Rc;

/// The first four bytes. Another format has other bytes.
const MAGIC: u32 = u32::from_le_bytes(*b"mni1");

/// A place to write the bytes of an index to.
pub trait Sink {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A place to read the bytes of an index from.
pub trait Source {
    /// Fills `bytes` with the next bytes.
    fn read(&mut self, bytes: &mut [u8]) -> Result<()>;
    /// How many bytes are left.
    fn left(&self) -> usize;
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

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

fn write<T: Number>(sink: &mut impl Sink, numbers: &[T]) -> Result<()> {
    let mut bytes = Vec::new();
    T::append(numbers, &mut bytes);
    sink.write(&bytes)
}

fn write_count(sink: &mut impl Sink, count: usize) -> Result<()> {
    let count = u32::try_from(count).map_err(|_| damaged("it is too large"))?;
    write(sink, &[count])
}

fn read<T: Number>(source: &mut impl Source, count: usize) -> Result<Vec<T>> {
    let size = count.checked_mul(T::BYTES);
    let size = size.filter(|&size| size <= source.left());
    let mut bytes = vec![0; size.ok_or_else(|| damaged("it ends too early"))?];
    source.read(&mut bytes)?;
    Ok(T::list(&bytes))
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

impl Index {
    /// Writes the index. All rows must have codes (see [`is_encoded`](Self::is_encoded)).
    pub fn write(&self, sink: &mut impl Sink) -> Result<()> {
        let basis = self
            .basis
            .as_ref()
            .ok_or_else(|| damaged("it has no basis"))?;
        write(sink, &[MAGIC])?;
        for number in [self.dim, basis.size(), usize::from(self.is_int8())] {
            write_count(sink, number)?;
        }
        write(sink, basis.directions())?;
        let scales: Vec<f32> = basis.scales().to_floats().collect();
        write(sink, &scales)?;
        write_count(sink, self.learned_rows)?;
        write_count(sink, self.added.min(u32::MAX as usize / 2))?;
        write_count(sink, self.numbers.len())?;
        for (name, &number) in &self.numbers {
            write_count(sink, name.len())?;
            sink.write(name.as_bytes())?;
            let blocks = self.spaces[number as usize].blocks().iter();
            let blocks: Vec<&Block> = blocks.filter(|block| block.live() > 0).collect();
            write_count(sink, blocks.len())?;
            for block in blocks {
                if block.dead() > 0 {
                    let rows: Vec<usize> = block.live_rows().collect();
                    write_block(sink, &block.select(&rows))?;
                } else {
                    write_block(sink, block)?;
                }
            }
            let graphs = self.spaces[number as usize].graphs_to_keep()?;
            write_count(sink, graphs.len())?;
            for KeptGraph { first_ids, bytes } in graphs {
                write_count(sink, first_ids.len())?;
                write(sink, &first_ids)?;
                write_count(sink, bytes.len())?;
                sink.write(&bytes)?;
            }
        }
        Ok(())
    }

    /// Reads an index that [`write`](Self::write) has written for this number of dimensions and
    /// this dtype. Float32 and float16 are stored alike, without their vectors.
    pub fn read(source: &mut impl Source, dim: u32, dtype: VectorDtype) -> Result<Self> {
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
        for _ in 0..read_count(source)? {
            let length = read_count(source)?;
            expect(length <= MAX_NAME_BYTES, "a namespace is too long")?;
            let name = String::from_utf8(read(source, length)?)
                .map_err(|_| damaged("a namespace is not UTF-8"))?;
            let mut rows = Rows::new(dim, dtype);
            for _ in 0..read_count(source)? {
                let block = read_block(source, &basis, is_int8)?;
                expect(rows.append(block), "its ids do not ascend")?;
            }
            let mut graphs = Vec::new();
            for _ in 0..read_count(source)? {
                let blocks = read_count(source)?;
                let first_ids: Vec<u64> = read(source, blocks)?;
                let ascend = first_ids.is_sorted_by(|a, b| a < b);
                expect(
                    !first_ids.is_empty() && ascend,
                    "a graph's blocks do not ascend",
                )?;
                let length = read_count(source)?;
                let bytes = read(source, length)?;
                graphs.push(KeptGraph { first_ids, bytes });
            }
            rows.set_kept_graphs(graphs);
            let number = index.spaces.len() as u32;
            let earlier = index.numbers.insert(name, number);
            expect(earlier.is_none(), "a namespace comes twice")?;
            index.spaces.push(rows);
        }
        expect(source.left() == 0, "it goes on after its end")?;
        index.basis = Some(basis);
        index.absent_after = (!is_int8 && index.rows() > 0).then_some(0);
        Ok(index)
    }

    fn is_int8(&self) -> bool {
        self.dtype == VectorDtype::Int8
    }
}

fn write_block(sink: &mut impl Sink, block: &Block) -> Result<()> {
    let coded = block
        .coded()
        .ok_or_else(|| damaged("a block has no codes"))?;
    write_count(sink, block.rows())?;
    write(sink, block.ids())?;
    write(sink, block.stamps())?;
    write(sink, &[coded.errors.head, coded.errors.detail])?;
    write_count(sink, coded.outliers.len())?;
    write(sink, &coded.outliers)?;
    sink.write(&coded.heads)?;
    write(sink, &coded.details)?;
    if let Vectors::Int8 {
        codes,
        scales,
        errors,
    } = block.vectors()
    {
        write(sink, codes)?;
        write(sink, scales)?;
        write(sink, errors)?;
    }
    Ok(())
}

fn read_block(source: &mut impl Source, basis: &Rc<Basis>, is_int8: bool) -> Result<Block> {
    let dim = basis.dim();
    let rows = read_count(source)?;
    expect(
        (1..=block_rows(dim)).contains(&rows),
        "a block has another size",
    )?;
    let ids: Vec<u64> = read(source, rows)?;
    expect(
        ids[0] > 0 && ids.is_sorted_by(|a, b| a < b),
        "its ids do not ascend",
    )?;
    let stamps = read(source, rows)?;
    let (head, detail) = (read_one(source)?, read_one(source)?);
    let outliers = read_count(source)?;
    let outliers: Vec<u16> = read(source, outliers)?;
    let sorted = outliers.is_sorted_by(|a, b| a < b);
    expect(
        sorted && outliers.last().is_none_or(|&last| usize::from(last) < rows),
        "a row is missing",
    )?;
    let heads = read(source, rows.next_multiple_of(QUAD) * HEAD_BYTES)?;
    let width = if is_int8 {
        0
    } else {
        detail_bytes(basis.size())
    };
    let details = read(source, rows * width)?;
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
    expect(are_lengths(&[head, detail]), "an error is out of range")?;
    let coded = Coded {
        basis: Rc::clone(basis),
        heads,
        details,
        detail_bytes: width,
        errors: Errors { head, detail },
        outliers,
    };
    Ok(Block::of_codes(dim, ids, stamps, vectors, coded))
}

fn are_lengths(values: &[f32]) -> bool {
    values.iter().all(|value| (0.0..=2.0).contains(value))
}
