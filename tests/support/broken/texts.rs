//! What backends do to the text and the numbers of an entry.

use mneme::store::Entry;

/// The texts of an entry that are no keys.
fn texts(entry: &mut Entry) -> [&mut String; 3] {
    [&mut entry.query, &mut entry.response, &mut entry.metadata]
}

/// Replaces what three bytes of UTF-8 cannot hold.
pub fn three_bytes_only(entry: &mut Entry) {
    for text in texts(entry) {
        *text = text.replace(|c| c > '\u{ffff}', "?");
    }
}

/// Cuts texts at the first U+0000.
pub fn cut_at_nul(entry: &mut Entry) {
    for text in texts(entry) {
        if let Some(at) = text.find('\0') {
            text.truncate(at);
        }
    }
}

/// Cuts namespaces at the first U+0000.
pub fn namespace_cut_at_nul(entry: &mut Entry) {
    if let Some(at) = entry.namespace.find('\0') {
        entry.namespace.truncate(at);
    }
}

/// Removes white space at both ends.
pub fn trimmed(entry: &mut Entry) {
    for text in texts(entry) {
        *text = text.trim().to_owned();
    }
}

/// Makes one line end of two characters.
pub fn line_ends(entry: &mut Entry) {
    for text in texts(entry) {
        *text = text.replace("\r\n", "\n");
    }
}

/// Composes letters with their accents.
pub fn composed(entry: &mut Entry) {
    for text in texts(entry) {
        *text = super::keys::composed(text);
    }
}

/// Keeps no more of a text than 64 KiB.
pub fn cut_at_64k(entry: &mut Entry) {
    for text in texts(entry) {
        let mut end = text.len().min(65_535);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// Takes an empty text for none.
pub fn empty_is_null(entry: &mut Entry) {
    for text in texts(entry) {
        if text.is_empty() {
            *text = "null".to_owned();
        }
    }
}

/// Keeps the query in lower case.
pub fn query_in_lower_case(entry: &mut Entry) {
    entry.query = entry.query.to_lowercase();
}

/// Sorts the keys of the metadata, and leaves out its white space.
pub fn sorted_metadata(entry: &mut Entry) {
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&entry.metadata) {
        entry.metadata = value.to_string();
    }
}

/// Loses the last value of the vector.
pub fn last_value_lost(entry: &mut Entry) {
    entry.embedding.pop();
}

/// Makes the last value of the vector zero.
pub fn last_value_zero(entry: &mut Entry) {
    if let Some(last) = entry.embedding.last_mut() {
        *last = 0.0;
    }
}

/// Rounds vectors to the precision of 16 bits.
pub fn half_precision(entry: &mut Entry) {
    for value in &mut entry.embedding {
        *value = f32::from_bits(value.to_bits() & !0x1fff);
    }
}

/// Makes one zero of both, and of what is nearly so.
pub fn no_small_numbers(entry: &mut Entry) {
    for value in &mut entry.embedding {
        if value.abs() < f32::MIN_POSITIVE {
            *value = 0.0;
        }
    }
}

/// Keeps vectors at unit length.
pub fn unit_length(entry: &mut Entry) {
    let length = entry.embedding.iter().map(|v| v * v).sum::<f32>().sqrt();
    if length > 0.0 {
        entry
            .embedding
            .iter_mut()
            .for_each(|value| *value /= length);
    }
}

/// Keeps times and counts in 32 bits.
pub fn small_integers(entry: &mut Entry) {
    for number in [
        &mut entry.created_at,
        &mut entry.last_accessed_at,
        &mut entry.access_count,
    ] {
        *number &= 0xffff_ffff;
    }
    entry.ttl = entry.ttl.map(|ttl| ttl & 0xffff_ffff);
}

/// Keeps times and counts as floating point numbers of 24 bits' precision.
pub fn rounded_integers(entry: &mut Entry) {
    for number in [
        &mut entry.created_at,
        &mut entry.last_accessed_at,
        &mut entry.access_count,
    ] {
        *number = *number as f32 as u64;
    }
}

/// Takes a lifetime of 0 for none.
pub fn zero_ttl_is_none(entry: &mut Entry) {
    entry.ttl = entry.ttl.filter(|ttl| *ttl > 0);
}

/// Takes no lifetime for one of 0.
pub fn no_ttl_is_zero(entry: &mut Entry) {
    entry.ttl = entry.ttl.or(Some(0));
}

/// Sets the last access to the time of creation.
pub fn accessed_when_created(entry: &mut Entry) {
    entry.last_accessed_at = entry.created_at;
}

/// Begins to count accesses at 0.
pub fn no_access_yet(entry: &mut Entry) {
    entry.access_count = 0;
}
