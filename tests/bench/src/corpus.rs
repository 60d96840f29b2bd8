//! The vectors of one size: a file that every contender reads, and the true answers.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ndarray::{Array2, ArrayView2};

use crate::vectors::{Generator, cosine, seeded};
use crate::{PARTS, PUTS, THRESHOLD};

/// Queries this close to the threshold are not asked: float16 and int8 may round either way.
const MARGIN: f64 = 0.01;
/// Numbers of a block that is compared at once.
const BLOCK: usize = 1 << 21;
/// Cosines no further apart are of equally good answers.
const TIE: f64 = 1e-6;

/// A query, a row of the file too.
#[derive(Debug, Clone)]
pub struct Query {
    pub row: usize,
    pub vector: Vec<f32>,
    /// The cosine of the nearest entry, found by comparing with all.
    nearest: f64,
}

/// One tenant's queries; all of them hit.
#[derive(Debug)]
pub struct Tenant {
    pub number: usize,
    pub hits: Vec<Query>,
}

/// Entries, entries yet to be put, and queries.
#[derive(Debug)]
pub struct Corpus {
    pub entries: usize,
    pub dim: usize,
    pub path: PathBuf,
    pub origin: String,
    pub hits: Vec<Query>,
    pub misses: Vec<Query>,
    pub tenants: Vec<Tenant>,
    /// Into how many namespaces entries are divided where tenants are measured.
    pub namespaces: usize,
    file: File,
}

impl Corpus {
    /// Writes the vectors to `path`, and compares the queries with all entries.
    pub fn create(
        path: &Path,
        generator: &Generator<'_>,
        (entries, dim): (usize, usize),
        queries: usize,
        namespaces: Option<usize>,
    ) -> Result<Self> {
        let named = || format!("bench: cannot write {path:?}");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(named)?;
        let mut corpus = Self {
            entries,
            dim,
            path: path.to_owned(),
            origin: generator.origin(),
            hits: Vec::new(),
            misses: Vec::new(),
            tenants: Vec::new(),
            namespaces: namespaces.unwrap_or(1),
            file,
        };
        let rows = entries + PARTS * PUTS;
        let mut writer = BufWriter::with_capacity(1 << 20, &corpus.file);
        for n in 0..rows {
            write(&mut writer, &generator.row(n)?).with_context(named)?;
        }
        writer.flush().with_context(named)?;
        drop(writer);

        let random = &mut seeded(8, entries);
        let mut asked: Vec<Vec<f32>> = Vec::new();
        for n in 0..queries {
            let like = corpus.vector(random.usize(..entries))?;
            asked.push(generator.related(&like, n)?);
        }
        // Some turn out to be close to an entry.
        for n in 0..queries * 2 {
            asked.extend(generator.unrelated(n)?);
        }
        let nearest = corpus.nearest(0..entries, 1, &asked)?;
        let mut found: Vec<Query> = Vec::new();
        for (vector, nearest) in asked.into_iter().zip(nearest) {
            found.push(Query {
                row: 0,
                vector,
                nearest,
            });
        }
        let misses = found.split_off(queries);
        corpus.hits = found;
        corpus
            .hits
            .retain(|query| query.nearest > THRESHOLD + MARGIN);
        corpus.misses = misses;
        corpus
            .misses
            .retain(|query| query.nearest < THRESHOLD - MARGIN);
        corpus.misses.truncate(queries);
        if let Some(namespaces) = namespaces {
            corpus.ask_tenants(generator, queries, namespaces)?;
        }
        corpus.append(rows).with_context(named)?;
        Ok(corpus)
    }

    fn ask_tenants(
        &mut self,
        generator: &Generator<'_>,
        queries: usize,
        namespaces: usize,
    ) -> Result<()> {
        let random = &mut seeded(10, self.entries);
        for _ in 0..PARTS {
            let number = random.usize(..namespaces);
            let members: Vec<usize> = (number..self.entries).step_by(namespaces).collect();
            let mut asked = Vec::new();
            for n in 0..queries.div_ceil(PARTS) {
                let like = self.vector(members[random.usize(..members.len())])?;
                asked.push(generator.related(&like, n)?);
            }
            let nearest = self.nearest(number..self.entries, namespaces, &asked)?;
            let hits = asked
                .into_iter()
                .zip(nearest)
                .map(|(vector, nearest)| Query {
                    row: 0,
                    vector,
                    nearest,
                });
            self.tenants.push(Tenant {
                number,
                hits: hits.collect(),
            });
        }
        Ok(())
    }

    /// Writes the queries after the entries and numbers them.
    fn append(&mut self, rows: usize) -> std::io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start((rows * self.dim * 4) as u64))?;
        let mut writer = BufWriter::new(file);
        let tenants = self.tenants.iter_mut().flat_map(|tenant| &mut tenant.hits);
        let queries = self.hits.iter_mut().chain(&mut self.misses).chain(tenants);
        for (row, query) in (rows..).zip(queries) {
            query.row = row;
            write(&mut writer, &query.vector)?;
        }
        writer.flush()
    }

    /// The vector of an entry.
    pub fn vector(&self, row: usize) -> Result<Vec<f32>> {
        self.read(row, 1)
    }

    fn read(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; count * self.dim * 4];
        let mut file = &self.file;
        file.seek(SeekFrom::Start((first * self.dim * 4) as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .with_context(|| format!("bench: cannot read {:?}", self.path))?;
        let numbers = bytes.as_chunks().0;
        Ok(numbers
            .iter()
            .map(|&four| f32::from_le_bytes(four))
            .collect())
    }

    /// For each query the greatest cosine with a row of these, every `step`th.
    fn nearest(&self, rows: Range<usize>, step: usize, asked: &[Vec<f32>]) -> Result<Vec<f64>> {
        let queries = Array2::from_shape_vec((asked.len(), self.dim), asked.concat())?;
        let mut best = vec![(f32::MIN, Vec::new()); asked.len()];
        let at_once = (BLOCK / self.dim).max(1);
        let mut members = rows.step_by(step).peekable();
        while let Some(&first) = members.peek() {
            let block: Vec<usize> = members.by_ref().take(at_once).collect();
            let numbers = match step {
                1 => self.read(first, block.len())?,
                _ => {
                    let read: Result<Vec<_>> = block.iter().map(|&row| self.vector(row)).collect();
                    read?.concat()
                }
            };
            let vectors = ArrayView2::from_shape((block.len(), self.dim), &numbers)?;
            let cosines = queries.dot(&vectors.t());
            for (best, row) in best.iter_mut().zip(cosines.rows()) {
                let greatest = row.iter().copied().fold(f32::MIN, f32::max);
                if greatest > best.0 {
                    let at = row.iter().position(|&cosine| cosine == greatest);
                    let at = at.unwrap_or_default() * self.dim;
                    *best = (greatest, numbers[at..at + self.dim].to_vec());
                }
            }
        }
        let exact = asked.iter().zip(&best);
        Ok(exact
            .map(|(query, (_, near))| cosine(query, near))
            .collect())
    }

    /// Whether no entry is nearer to the query than this one.
    pub fn is_nearest(&self, query: &Query, entry: usize) -> Result<bool> {
        Ok(cosine(&query.vector, &self.vector(entry)?) >= query.nearest - TIE)
    }

    /// The rows to put in a part.
    pub fn puts(&self, part: usize) -> Range<usize> {
        let first = self.entries + part * PUTS;
        first..first + PUTS
    }
}

/// The queries of a part.
pub fn part(queries: &[Query], part: usize) -> &[Query] {
    let bound = |part: usize| queries.len() * part / PARTS;
    &queries[bound(part)..bound(part + 1)]
}

fn write(writer: &mut impl Write, vector: &[f32]) -> std::io::Result<()> {
    for value in vector {
        writer.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}
