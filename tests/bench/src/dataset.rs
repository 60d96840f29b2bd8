//! Files of vectors.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use half::f16;
use npyz::{DType, NpyHeader, Order};

use crate::unit::unit;

/// The fewest rows of a file: one in eight is held out as a query.
const LEAST_ROWS: usize = 16;

/// How a file writes its numbers, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    F16,
    F32,
}

impl Number {
    fn bytes(self) -> usize {
        match self {
            Number::F16 => 2,
            Number::F32 => 4,
        }
    }
}

/// A file of vectors, each finite and not zero. Rows are read where they are needed.
#[derive(Debug)]
pub struct Dataset {
    pub path: PathBuf,
    pub rows: usize,
    pub dim: usize,
    number: Number,
    /// Where the first row begins.
    start: u64,
    file: File,
}

impl Dataset {
    /// Opens a file and looks at all of its rows. `dim` is asked for, or what files without
    /// a header have.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is of another format, shape or length, or has a row that
    /// is zero or not finite.
    pub fn open(path: &Path, dim: Option<usize>) -> Result<Self> {
        let named = || format!("bench: --dataset {path:?}");
        let mut file = File::open(path).with_context(named)?;
        let bytes = file.metadata().with_context(named)?.len();
        let extension = path.extension().and_then(|end| end.to_str()).unwrap_or("");
        let raw = dim.unwrap_or(crate::DIM);
        let (number, found, start) = match extension {
            "f16" => (Number::F16, raw, 0),
            "f32" => (Number::F32, raw, 0),
            "npy" => header(&mut file).with_context(named)?,
            _ => bail!("{}: the name must end in .f32, .f16 or .npy", named()),
        };
        if let Some(dim) = dim
            && dim != found
        {
            bail!(
                "{}: vectors of {found} values, where --dims has {dim}",
                named()
            );
        }
        if !(2..=8192).contains(&found) {
            bail!(
                "{}: vectors of {found} values; 2 to 8192 are possible",
                named()
            );
        }
        let (body, row) = (bytes.saturating_sub(start), (found * number.bytes()) as u64);
        if body == 0 || !body.is_multiple_of(row) {
            bail!(
                "{}: {body} bytes of numbers are not a whole number of vectors of {found} values, {row} bytes each",
                named()
            );
        }
        let rows = usize::try_from(body / row)?;
        if rows < LEAST_ROWS {
            bail!(
                "{}: {rows} vectors; at least {LEAST_ROWS} are needed",
                named()
            );
        }
        let mut dataset = Self {
            path: path.to_owned(),
            rows,
            dim: found,
            number,
            start,
            file,
        };
        dataset.check().with_context(named)?;
        Ok(dataset)
    }

    fn check(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.start))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = vec![0; self.dim * self.number.bytes()];
        for n in 0..self.rows {
            reader.read_exact(&mut bytes)?;
            let row = decode(&bytes, self.number);
            if row.iter().any(|value| !value.is_finite()) {
                bail!("vector {n} (counted from 0) has a value that is not finite");
            }
            if row.iter().all(|&value| value == 0.0) {
                bail!("vector {n} (counted from 0) is zero, which has no direction");
            }
        }
        Ok(())
    }

    /// A row, scaled to unit length.
    pub fn row(&self, n: usize) -> std::io::Result<Vec<f32>> {
        let mut bytes = vec![0; self.dim * self.number.bytes()];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.start + (n * bytes.len()) as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(unit(decode(&bytes, self.number)))
    }
}

/// The format, the length of the rows and where they begin, of a NumPy file.
fn header(file: &mut File) -> Result<(Number, usize, u64)> {
    let header = NpyHeader::from_reader(&mut *file).context("not a .npy file")?;
    let DType::Plain(kind) = header.dtype() else {
        bail!("it holds records; float32 or float16 are needed");
    };
    let number = match &*kind.to_string() {
        "<f2" => Number::F16,
        "<f4" => Number::F32,
        other => bail!("its numbers are {other}; <f4 or <f2 are needed"),
    };
    let &[rows, dim] = header.shape() else {
        bail!(
            "{} dimensions; rows of vectors are needed",
            header.shape().len()
        );
    };
    if header.order() != Order::C {
        bail!("it is in Fortran's order; rows of vectors are needed");
    }
    let start = file.stream_position()?;
    let expected = rows
        .checked_mul(dim)
        .and_then(|numbers| numbers.checked_mul(number.bytes() as u64))
        .and_then(|bytes| bytes.checked_add(start));
    let bytes = file.metadata()?.len();
    if expected != Some(bytes) {
        bail!("{bytes} bytes do not fit its shape, {rows} rows of {dim}");
    }
    Ok((number, usize::try_from(dim)?, start))
}

fn decode(bytes: &[u8], number: Number) -> Vec<f32> {
    match number {
        Number::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&two| f16::from_le_bytes(two).to_f32())
            .collect(),
        Number::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&four| f32::from_le_bytes(four))
            .collect(),
    }
}
