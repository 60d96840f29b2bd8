//! The format of a graph in the store.
//!
//! | what | as |
//! |---|---|
//! | [`MAGIC`], rows | little-endian u32 each |
//! | `ef-search` when it was written | varint |
//! | number of nodes, and the row of each | varints |
//! | number of nodes, [`LINKS`] links of each in the lowest layer | varints |
//! | number of further layers | varint |
//! | of each, from the lower to the higher: number of nodes, half of [`LINKS`] links of each | varints |
//!
//! Postcard encodes `instant-distance`'s type like this; its fields are private. Varints are
//! postcard's, with 7 bits a byte, lowest first. A link is the number of a node. `u32::MAX` ends
//! the links of a node that has fewer.
//!
//! `instant-distance` does not check what it deserialises. So [`check`] reads all of it first, and
//! checks what a search relies on: links lead to nodes of the same layer, a node of a layer is in
//! each lower layer, and each layer has the first node. It allocates one bit for each row. The
//! bytes do not decide what it allocates.

use super::{LINKS, Node};
use crate::error::Result;
use crate::types::Error;
use instant_distance::{Hnsw, Point};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The first four bytes. Another format has other bytes.
const MAGIC: u32 = u32::from_le_bytes(*b"mng1");
/// Bytes before those of postcard.
const HEADER: usize = 8;
/// No link.
const NONE: u32 = u32::MAX;
/// Bytes that writing takes for each row, in a vector that grows by doubling.
pub const WRITE_BYTES: usize = 2 * 256;
/// The most bytes that serde reserves for a sequence before it has read the elements.
const SERDE_RESERVES: usize = 1 << 20;

fn damaged(what: &str) -> Error {
    Error::Corrupt(format!(
        "a graph of the index kept in the store is damaged: {what}"
    ))
}

/// Appends a graph.
pub fn write<P: Point + Serialize>(hnsw: &Hnsw<P>, rows: usize, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&(rows as u32).to_le_bytes());
    *bytes = postcard::to_extend(hnsw, std::mem::take(bytes))
        .map_err(|error| damaged(&error.to_string()))?;
    Ok(())
}

/// Reads a graph that is searched with `ef_search`. Also returns the bytes that it allocated.
pub fn read(bytes: &[u8], rows: usize, ef_search: usize) -> Result<(Hnsw<Node<'static>>, usize)> {
    let (header, body) = bytes
        .split_at_checked(HEADER)
        .ok_or_else(|| damaged("it ends too early"))?;
    if header[..4] != MAGIC.to_le_bytes() {
        return Err(damaged("it has an unknown format"));
    }
    if header[4..] != (rows as u32).to_le_bytes() || rows > super::MAX_ROWS {
        return Err(damaged("it has another number of rows"));
    }
    let mut links = body;
    let written_with: usize = next(&mut links)?;
    let bytes = check(links, rows)?;
    let body = if written_with == ef_search {
        Cow::Borrowed(body)
    } else {
        let mut body = Vec::with_capacity(links.len() + 10);
        body =
            postcard::to_extend(&ef_search, body).map_err(|error| damaged(&error.to_string()))?;
        body.extend_from_slice(links);
        Cow::Owned(body)
    };
    let hnsw = postcard::from_bytes(&body).map_err(|error| damaged(&error.to_string()))?;
    Ok((hnsw, bytes))
}

/// The next number.
fn next<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T> {
    let (number, rest) =
        postcard::take_from_bytes(bytes).map_err(|error| damaged(&error.to_string()))?;
    *bytes = rest;
    Ok(number)
}

/// Refuses bytes that cannot be searched safely. Otherwise returns how many bytes the graph will
/// allocate.
fn check(mut bytes: &[u8], rows: usize) -> Result<usize> {
    let bytes = &mut bytes;
    if next::<usize>(bytes)? != rows {
        return Err(damaged("it has another number of nodes than rows"));
    }
    let mut seen = vec![0_u64; rows.div_ceil(64)];
    for _ in 0..rows {
        let row: u32 = next(bytes)?;
        let word = seen.get_mut(row as usize / 64);
        let word = word.filter(|_| (row as usize) < rows);
        let word = word.ok_or_else(|| damaged("a node stands for no row"))?;
        let bit = 1 << (row % 64);
        if *word & bit != 0 {
            return Err(damaged("two nodes stand for one row"));
        }
        *word |= bit;
    }
    if next::<usize>(bytes)? != rows {
        return Err(damaged("not all nodes are in the lowest layer"));
    }
    check_links(bytes, rows, LINKS)?;
    let mut allocated = grown(rows, size_of::<Node>()) + grown(rows, LINKS * 4);
    let layers: usize = next(bytes)?;
    let mut below = rows;
    for _ in 0..layers {
        let nodes: usize = next(bytes)?;
        // `instant-distance` makes each layer 0.29 times the one below it.
        if nodes == 0 || nodes > below / 2 {
            return Err(damaged("a layer has an impossible number of nodes"));
        }
        check_links(bytes, nodes, LINKS / 2)?;
        allocated += grown(nodes, LINKS / 2 * 4) + size_of::<Vec<u32>>();
        below = nodes;
    }
    if !bytes.is_empty() {
        return Err(damaged("something follows it"));
    }
    Ok(allocated)
}

/// Refuses links of a layer that lead out of it.
fn check_links(bytes: &mut &[u8], nodes: usize, links: usize) -> Result<()> {
    for _ in 0..nodes {
        let mut ended = false;
        for _ in 0..links {
            let link: u32 = next(bytes)?;
            if link == NONE {
                ended = true;
            } else if ended || link as usize >= nodes {
                return Err(damaged("a link leads nowhere"));
            }
        }
    }
    Ok(())
}

/// The bytes of a vector that serde fills with elements.
fn grown(count: usize, size: usize) -> usize {
    let mut capacity = count.min(SERDE_RESERVES / size);
    while capacity < count {
        capacity *= 2;
    }
    capacity * size
}
