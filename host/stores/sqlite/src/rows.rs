//! Between the rows of table `entries` and [`Entry`].
//!
//! A number from 0 to 2^53 - 1 is what every writer of the layout means; anything else is damage.
//! A fraction, which `mneme-cache` lets pass, is cut off.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::error::{Fault, Outcome};
use super::labels;
use mneme_store::checks::{GREATEST, read_number, wrong_context};
use mneme_store::{Entry, EntryRef};

/// The columns of [`entry`], in its order, with the vector or `NULL` in its place.
macro_rules! entry_columns {
    () => {
        entry_columns!("embedding")
    };
    ($embedding:literal) => {
        concat!(
            "id, namespace, query_hash, query, response, ",
            $embedding,
            ", metadata, created_at, last_accessed_at, ttl, access_count, context, tags"
        )
    };
}
pub(super) use entry_columns;

/// SQL for "expired before ?1", as the index of expiry has it. A row whose numbers are damage
/// never expires. The `+` keeps SQLite from the index of `created_at`.
macro_rules! expired {
    () => {
        "ttl BETWEEN 0 AND 9007199254740991 AND +created_at BETWEEN 0 AND 9007199254740991 \
         AND created_at + ttl < ?1"
    };
}
pub(super) use expired;

/// A row of [`entry_columns`], whose vector has `dim` values; without a `dim` it is not read.
pub(super) fn entry(row: &Row<'_>, dim: Option<u32>) -> Outcome<Entry> {
    let id = id(row, 0)?;
    let mut embedding = Vec::new();
    if let Some(dim) = dim {
        append_embedding(&mut embedding, row.get_ref(5)?, dim, id)?;
    }
    Ok(Entry {
        id,
        context: context(row, 11, id)?,
        tags: labels::tags(row.get_ref(12)?).map_err(|what| wrong("tags", id, what))?,
        namespace: text(row, 1, id, "namespace")?,
        query_hash: text(row, 2, id, "query_hash")?,
        query: text(row, 3, id, "query")?,
        response: text(row, 4, id, "response")?,
        embedding,
        metadata: text(row, 6, id, "metadata")?,
        created_at: number(row, 7, id, "created_at")?,
        last_accessed_at: number(row, 8, id, "last_accessed_at")?,
        ttl: match row.get_ref(9)? {
            ValueRef::Null => None,
            value => Some(whole(value).ok_or_else(|| wrong_number("ttl", id))?),
        },
        access_count: number(row, 10, id, "access_count")?,
    })
}

/// A row of `id, namespace, created_at`.
pub(super) fn reference(row: &Row<'_>) -> Outcome<EntryRef> {
    let id = id(row, 0)?;
    Ok(EntryRef {
        id,
        namespace: text(row, 1, id, "namespace")?,
        created_at: number(row, 2, id, "created_at")?,
    })
}

pub(super) fn id(row: &Row<'_>, column: usize) -> Outcome<u64> {
    match row.get_ref(column)? {
        ValueRef::Integer(id) if id > 0 && read_number(id).is_some() => Ok(id.unsigned_abs()),
        other => Err(Fault::Corrupt(format!(
            "table entries has a row whose id is {other:?}, and ids are from 1 to {GREATEST}; delete that row, or restore a checkpoint"
        ))),
    }
}

pub(super) fn text(row: &Row<'_>, index: usize, id: u64, column: &str) -> Outcome<String> {
    let text = utf8(row.get_ref(index)?).map_err(|what| wrong(column, id, what))?;
    Ok(text.to_owned())
}

pub(super) fn context(row: &Row<'_>, index: usize, id: u64) -> Outcome<String> {
    let context = text(row, index, id, "context")?;
    match wrong_context(&context) {
        Some(what) => Err(wrong("context", id, what)),
        None => Ok(context),
    }
}

/// A text, or what is wrong with it.
pub(super) fn utf8(value: ValueRef<'_>) -> Result<&str, &'static str> {
    let ValueRef::Text(bytes) = value else {
        return Err("is not a text");
    };
    std::str::from_utf8(bytes).map_err(|_| "is not valid UTF-8")
}

/// A namespace that a statement made of many entries.
pub(super) fn namespace(conn: &Connection, row: &Row<'_>, index: usize) -> Outcome<String> {
    const FIRST: &str = "SELECT min(id) FROM entries WHERE namespace = ?1";
    let value = row.get_ref(index)?;
    utf8(value).map(str::to_owned).or_else(|what| {
        let mut query = conn.prepare_cached(FIRST)?;
        let value = ToSqlOutput::Borrowed(value);
        let first: Option<i64> = query.query_row([value], |row| row.get(0))?;
        Err(wrong("namespace", first.map_or(0, i64::unsigned_abs), what))
    })
}

/// A text of another table than that of the entries, or an error that names the place and the
/// remedy.
pub(super) fn text_at(
    row: &Row<'_>,
    index: usize,
    place: impl FnOnce() -> String,
    remedy: &str,
) -> Outcome<String> {
    utf8(row.get_ref(index)?)
        .map(str::to_owned)
        .map_err(|what| Fault::Corrupt(format!("{} {what}; {remedy}", place())))
}

/// As [`text_at`], of a column that names its row, which is followed by the row's number.
pub(super) fn key_at(row: &Row<'_>, index: usize, column: &str) -> Outcome<String> {
    let rowid: i64 = row.get(index + 1)?;
    let place = || format!("{column} of the row with rowid {rowid}");
    text_at(
        row,
        index,
        place,
        "delete that row, or restore a checkpoint",
    )
}

pub(super) fn number(row: &Row<'_>, index: usize, id: u64, column: &str) -> Outcome<u64> {
    whole(row.get_ref(index)?).ok_or_else(|| wrong_number(column, id))
}

/// A count or a time, if it is one: never a fraction.
pub(super) fn whole(value: ValueRef<'_>) -> Option<u64> {
    match value {
        ValueRef::Integer(number) => read_number(number),
        // The cast cuts the fraction off.
        ValueRef::Real(number) if number >= 0.0 => read_number(number as u64),
        _ => None,
    }
}

/// Appends the `dim` values of an embedding blob.
pub(super) fn append_embedding(
    to: &mut Vec<f32>,
    value: ValueRef<'_>,
    dim: u32,
    id: u64,
) -> Outcome<()> {
    let ValueRef::Blob(bytes) = value else {
        return Err(wrong("embedding", id, "is not a blob"));
    };
    let (values, rest) = bytes.as_chunks::<4>();
    if values.len() != dim as usize || !rest.is_empty() {
        return Err(wrong(
            "embedding",
            id,
            &format!(
                "has {} bytes, where {dim} float32 values take {}",
                bytes.len(),
                u64::from(dim) * 4
            ),
        ));
    }
    to.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    Ok(())
}

/// Sets `to` to the float32 little-endian bytes of an embedding.
pub(super) fn encode_embedding(values: &[f32], to: &mut Vec<u8>) {
    to.resize(values.len() * 4, 0);
    for (bytes, value) in to.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
}

fn wrong_number(column: &str, id: u64) -> Fault {
    wrong(column, id, &format!("is not a number from 0 to {GREATEST}"))
}

pub(super) fn wrong(column: &str, id: u64, what: &str) -> Fault {
    Fault::Corrupt(format!(
        "table entries, column {column} of the row with id {id} {what}; delete that row, or restore a checkpoint"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn embeddings_keep_every_bit(bits in prop::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let mut bytes = vec![7; 3];
            encode_embedding(&values, &mut bytes);
            let mut back = Vec::new();
            let dim = values.len() as u32;
            append_embedding(&mut back, ValueRef::Blob(&bytes), dim, 1).unwrap();
            let back: Vec<u32> = back.into_iter().map(f32::to_bits).collect();
            prop_assert_eq!(back, bits);
        }

        #[test]
        fn any_blob_of_another_length_is_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            dim in 1u32..12,
        ) {
            let mut values = Vec::new();
            let right = bytes.len() == dim as usize * 4;
            let outcome = append_embedding(&mut values, ValueRef::Blob(&bytes), dim, 1);
            prop_assert_eq!(outcome.is_ok(), right);
        }

        #[test]
        fn a_number_reads_as_a_count_in_its_range_only(integer in any::<i64>(), real in any::<f64>()) {
            let count = u64::try_from(integer).ok().filter(|n| *n <= GREATEST);
            prop_assert_eq!(whole(ValueRef::Integer(integer)), count);
            let inside = (0.0..(GREATEST + 1) as f64).contains(&real);
            prop_assert_eq!(whole(ValueRef::Real(real)), inside.then_some(real as u64));
        }
    }

    #[test]
    fn fractions_are_cut_and_what_is_out_of_range_is_no_number() {
        assert_eq!(whole(ValueRef::Real(1.5)), Some(1));
        assert_eq!(whole(ValueRef::Integer(GREATEST as i64)), Some(GREATEST));
        for wrong in [
            ValueRef::Real(-0.5),
            ValueRef::Real(f64::INFINITY),
            ValueRef::Real(f64::NAN),
            ValueRef::Integer(GREATEST as i64 + 1),
            ValueRef::Integer(i64::MAX),
            ValueRef::Integer(-1),
            ValueRef::Text(b"1"),
            ValueRef::Null,
        ] {
            assert_eq!(whole(wrong), None, "{wrong:?}");
        }
    }
}
