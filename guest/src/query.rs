//! Normalising and hashing queries.
//!
//! The same on every host as Python's `re.sub(r"\s+", " ", text.strip()).casefold()` with
//! Unicode 14 to 15.1 (CPython 3.11 to 3.13), because the hash identifies stored data.

use caseless::Caseless;
use sha2::{Digest, Sha256};

/// The text with white space trimmed and collapsed, and fully case-folded.
pub fn normalize(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    let mut gap = false;
    for c in query.chars() {
        if is_space(c) {
            gap = !text.is_empty();
            continue;
        }
        if gap {
            text.push(' ');
            gap = false;
        }
        if c.is_ascii() {
            text.push(c.to_ascii_lowercase());
        } else if is_cased_since_unicode_16(c) {
            text.push(c);
        } else {
            text.extend(std::iter::once(c).default_case_fold());
        }
    }
    text
}

/// Whether there is nothing but white space.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// What the exact layer compares: the SHA-256 of the UTF-8 text, and of a byte 0xFF and the context
/// behind it where that is not empty. That byte is in no UTF-8, so no two pairs of text and context are
/// the same bytes. As 64 lowercase hexadecimal digits.
pub fn hash(text: &str, context: &str) -> String {
    let mut hash = Sha256::new_with_prefix(text);
    if !context.is_empty() {
        hash.update([0xff]);
        hash.update(context);
    }
    hex(&hash.finalize())
}

/// Whether a hash is that of a query in a context. A cache may normalise queries or not; see the
/// option `normalize`.
pub fn is_hash_of(found: &str, query: &str, context: &str) -> bool {
    found == hash(&normalize(query), context) || found == hash(query, context)
}

/// Bytes as lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// Python's `str.isspace`: Unicode white space and the four information separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Letters that the folding table (Unicode 16) folds, and that Unicode 15.1 does not have.
fn is_cased_since_unicode_16(c: char) -> bool {
    matches!(
        c,
        '\u{1c89}' | '\u{a7cb}' | '\u{a7cc}' | '\u{a7da}' | '\u{a7dc}' | '\u{10d50}'..='\u{10d65}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn white_space_is_trimmed_and_collapsed() {
        assert_eq!(normalize("\u{1f} a\u{3000}\u{85}b\t\r\n c\u{a0}"), "a b c");
        assert_eq!(normalize(" \u{2029} "), "");
        assert_eq!(normalize("a\u{200b}b"), "a\u{200b}b");
    }

    #[test]
    fn folding_is_full() {
        assert_eq!(normalize("Straße ΣΑΣ ﬀ İ"), "strasse σασ ff i\u{307}");
    }

    #[test]
    fn hash_is_sha256() {
        // Of "abc", 0xFF, "d".
        assert_eq!(
            hash("abc", "d"),
            "c41347a1da982b0e637a5504fd436b9e74be831c4afbad9a690ac80c91061b70"
        );
        assert_eq!(
            hash("abc", ""),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn no_text_has_the_hash_of_another_in_a_context() {
        let of_context = hash("abc", "d");
        for text in ["abc\0d", "abcd", "abc\u{ff}d", "abc d"] {
            assert_ne!(hash(text, ""), of_context, "{text:?}");
        }
        assert_ne!(hash("ab", "cd"), hash("abc", "d"));
        assert_ne!(hash("a\0b", "c"), hash("a", "b\0c"));
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing_more(text in "\\PC{0,40}") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
        }
    }
}
