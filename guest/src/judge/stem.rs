//! Stems of English words: endings that do not change what is asked are cut off.

use super::bytes::{part, parts};

/// Words with an end, and what stands there instead. They are tried in this order.
const ENDINGS: &[u8] = b"iest-y ier-y est- er- or- ability-abl ation- ation-at ition-it ion- ment- ness- able- abl- al- ance-";

/// Plurals of words that end like this.
const PLURALS: &[u8] = b"sses-ss xes-x ches-ch shes-sh zes-z oes-o";

/// Puts an end instead of another, if it is there and enough is left of the word.
#[inline(never)]
fn replace(word: &mut Vec<u8>, end: &[u8], least: usize, instead: &[u8]) -> bool {
    let fits = word.len() >= end.len() + least && word.ends_with(end);
    if fits {
        word.truncate(word.len() - end.len());
        word.extend_from_slice(instead);
    }
    fits
}

/// Cuts a lower-case word down to its stem. Words that are not ASCII, and short ones, are their own stems.
pub fn cut(word: &mut Vec<u8>) {
    if word.len() < 4 || !word.iter().all(u8::is_ascii_alphabetic) {
        return;
    }
    cut_plural(word);
    cut_verb(word);
    if replace(word, b"ly", 4, b"") {
        replace(word, b"i", 0, b"y");
    }
    if !word.ends_with(b"ee") {
        replace(word, b"e", 3, b"");
    }
    replace(word, b"ll", 5, b"l");
}

fn cut_plural(word: &mut Vec<u8>) {
    if !word.ends_with(b"s") {
        return;
    }
    if replace(word, b"ies", 2, b"y") || replace_one(word, PLURALS, 0, &mut 0) {
        return;
    }
    if let [.., before, b's'] = word[..]
        && !b"sui".contains(&before)
    {
        word.pop();
    }
}

fn cut_verb(word: &mut Vec<u8>) {
    if replace(word, b"ied", 2, b"y") {
        return;
    }
    let cut = if word.ends_with(b"ing") {
        3
    } else if word.ends_with(b"ed") && !word.ends_with(b"eed") {
        2
    } else {
        return;
    };
    let left = word.len() - cut;
    if left > 2 && word[..left].iter().any(|letter| b"aeiouy".contains(letter)) {
        word.truncate(left);
        undouble(word);
    }
}

/// One consonant for two at the end, as in `stopped`.
fn undouble(word: &mut Vec<u8>) {
    if let [.., a, b] = word[..]
        && a == b
        && word.len() > 3
        && !b"aeioulsz".contains(&b)
    {
        word.pop();
    }
}

/// Makes of a stem a shorter word that it may be built from, best first: `cheap` of `cheapest`,
/// `encrypt` of `encryption`. False if there is no more; `from` is where the next is looked for.
pub fn root(stem: &mut Vec<u8>, from: &mut usize) -> bool {
    // Each end ends with one of these.
    let has_end = stem.len() > 4 && b"elnrsty".contains(&stem[stem.len() - 1]);
    let found = has_end && replace_one(stem, ENDINGS, 3, from);
    if found {
        undouble(stem);
    }
    found
}

/// Replaces the first of some ends that is there.
#[inline(never)]
fn replace_one(word: &mut Vec<u8>, ends: &[u8], least: usize, from: &mut usize) -> bool {
    for rule in parts(part(ends, *from, ends.len()), b' ') {
        *from += rule.len() + 1;
        let mut instead = parts(rule, b'-');
        let end = instead.next().unwrap_or(rule);
        if !end.is_empty() && replace(word, end, least, instead.rest()) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem(word: &str) -> String {
        let mut stem = word.as_bytes().to_vec();
        cut(&mut stem);
        String::from_utf8(stem).unwrap()
    }

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            ["enable", "enables", "enabled", "enabling"],
            ["install", "installs", "installed", "installing"],
            ["stop", "stops", "stopped", "stopping"],
            ["cancel", "cancels", "cancelled", "canceling"],
            ["carry", "carries", "carried", "carrying"],
            ["quick", "quickly", "quick", "quick"],
        ] {
            for form in forms {
                assert_eq!(stem(form), stem(forms[0]), "{form}");
            }
        }
        assert_ne!(stem("string"), stem("str"));
        assert_eq!(stem("gas"), "gas");
        assert_eq!(stem("need"), "need");
    }

    #[test]
    fn roots_are_found() {
        let has = |word: &str, expected: &str| {
            let mut from = 0;
            loop {
                let mut found = stem(word).into_bytes();
                if !root(&mut found, &mut from) {
                    return false;
                }
                if found == expected.as_bytes() {
                    return true;
                }
            }
        };
        assert!(has("cheapest", "cheap") && has("bigger", "big") && has("easier", "easy"));
        assert!(has("encryption", "encrypt") && has("activation", "activat"));
    }
}
