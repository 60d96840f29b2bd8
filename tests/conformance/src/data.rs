//! Hashes, vectors and texts, made from the seed.

/// Spreads a number over all 64 bits. Different numbers stay different.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The seed of one case.
pub fn seed_of(name: &str, seed: u64) -> u64 {
    name.bytes()
        .fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)))
}

/// 64 lowercase hexadecimal digits, different for every `n`.
pub fn hash(seed: u64, n: u64) -> String {
    let first = mix(seed ^ mix(n));
    let second = mix(first);
    let third = mix(second ^ n);
    // This one alone would do to tell two numbers apart.
    let last = mix(n);
    format!("{first:016x}{second:016x}{third:016x}{last:016x}")
}

/// A vector of unit length.
pub fn vector(seed: u64, n: u64, dim: u32) -> Vec<f32> {
    let mut state = mix(seed ^ mix(n));
    let values: Vec<f64> = (0..dim)
        .map(|_| {
            state = mix(state);
            // Never 0, so that the length is not.
            let value = (state >> 32) as f64 + 1.0;
            if state & 1 == 0 { value } else { -value }
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values
        .into_iter()
        .map(|value| (value / length) as f32)
        .collect()
}

/// A text of this many bytes that does not compress well.
pub fn long_text(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 \n";
    let mut text = String::with_capacity(bytes);
    let mut state = mix(seed);
    let mut left = 0;
    while text.len() < bytes {
        if left == 0 {
            state = mix(state);
            left = 10;
        }
        left -= 1;
        text.push(char::from(LETTERS[(state >> (left * 6)) as usize & 63]));
    }
    text
}

/// This many bytes of any value that do not compress well.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 7);
    let mut state = mix(seed);
    while bytes.len() < count {
        state = mix(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Names that bytes, letters and UTF-16 sort in different ways; one of them twice.
pub const UNSORTED_NAMES: [&str; 16] = [
    "b",
    "a",
    "B",
    "é",
    "z",
    "ab",
    "a b",
    "a\0",
    "a",
    "\u{FFFF}",
    "\u{10000}",
    "\u{E000}",
    "_",
    "10",
    "9",
    "Ä",
];

/// Texts that stores are known to change, confuse or refuse.
pub const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    " padded ",
    "\t\r\n",
    "\n",
    "line\r\nline\rline\n",
    "\0",
    "a\0b",
    "\0\0end",
    "a:b",
    "a/b",
    "a|b",
    "a,b;c=d&e",
    "{a}{}",
    "*",
    "a*b?[c-d]",
    "%",
    "a_b%c",
    "\\",
    "\\0 \\n \\u0000 \\x00",
    "'",
    "\"",
    "'; DROP TABLE entries; --",
    "$1 ${x} #{y} %s {0}",
    "<b>&amp;</b>",
    "null",
    "007",
    "NaN",
    "true",
    "\u{1}\u{1B}[0m\u{7F}\u{85}\u{9F}",
    "é",
    "e\u{301}",
    "\u{1E9B}\u{323}",
    "Straße STRASSE",
    "\u{130}\u{131}iI",
    "\u{3A3}\u{3C2}\u{3C3}",
    "\u{FEFF}byte order mark",
    "zero\u{200B}width\u{200D}joined",
    "\u{202E}right to left",
    "\u{2028}\u{2029}",
    "\u{D7FF}\u{E000}",
    "\u{FFFD}",
    "\u{FFFE}\u{FFFF}",
    "🦀",
    "👩\u{200D}👩\u{200D}👧",
    "𝄞𝒳\u{10000}",
    "\u{1FFFF}\u{10FFFF}",
    "日本語 العربية ไทย",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hashes_are_64_lowercase_digits_and_differ() {
        let mut seen = BTreeSet::new();
        for n in 0..10_000 {
            let hash = hash(7, n);
            assert_eq!(hash.len(), 64);
            assert!(
                hash.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            assert_ne!(hash, hash.to_uppercase());
            assert!(seen.insert(hash));
        }
        assert_ne!(hash(1, 1), hash(2, 1));
        assert_eq!(hash(1, 1), hash(1, 1));
    }

    #[test]
    fn vectors_have_unit_length() {
        for dim in [1, 2, 3, 8, 384, 65_536] {
            for n in 0..20 {
                let vector = vector(5, n, dim);
                assert_eq!(vector.len(), dim as usize);
                let square: f64 = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
                assert!((square - 1.0).abs() < 1e-5, "{square}");
            }
        }
        assert_ne!(vector(5, 1, 8), vector(5, 2, 8));
        assert_ne!(vector(5, 1, 8), vector(6, 1, 8));
    }

    #[test]
    fn a_long_text_has_its_length() {
        for bytes in [0, 1, 9, 10, 11, 5000] {
            assert_eq!(long_text(3, bytes).len(), bytes);
        }
        assert_ne!(long_text(1, 100), long_text(2, 100));
    }

    #[test]
    fn bytes_are_as_many_as_asked_for_and_of_every_value() {
        for count in [0, 1, 7, 8, 9, 5000] {
            assert_eq!(bytes(3, count).len(), count);
        }
        assert_ne!(bytes(1, 100), bytes(2, 100));
        let values: BTreeSet<u8> = bytes(1, 5000).into_iter().collect();
        assert_eq!(values.len(), 256);
    }

    #[test]
    fn odd_texts_are_told_apart() {
        let different: BTreeSet<_> = ODD_TEXTS.iter().collect();
        assert_eq!(different.len(), ODD_TEXTS.len());
    }

    #[test]
    fn each_case_has_a_seed_of_its_own() {
        assert_ne!(seed_of("a", 1), seed_of("b", 1));
        assert_ne!(seed_of("a", 1), seed_of("a", 2));
        assert_ne!(seed_of("ab", 1), seed_of("ba", 1));
    }
}
