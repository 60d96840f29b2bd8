//! Stems of English words: endings that do not change what is asked are cut off.

/// Cuts a lower-case word down to its stem. Words that are not ASCII, and short ones, are their own stems.
pub fn cut(stem: &mut String) {
    if stem.len() < 4 || !stem.bytes().all(|b| b.is_ascii_alphabetic()) {
        return;
    }
    cut_plural(stem);
    cut_verb(stem);
    if stem.len() > 5 && stem.ends_with("ly") {
        stem.truncate(stem.len() - 2);
        if stem.ends_with('i') {
            stem.pop();
            stem.push('y');
        }
    }
    if stem.len() > 3 && stem.ends_with('e') && !stem.ends_with("ee") {
        stem.pop();
    }
    if stem.len() > 6 && stem.ends_with("ll") {
        stem.pop();
    }
}

fn cut_plural(word: &mut String) {
    if word.ends_with("ies") && word.len() > 4 {
        word.truncate(word.len() - 3);
        word.push('y');
    } else if ["sses", "xes", "ches", "shes", "zes", "oes"]
        .iter()
        .any(|end| word.ends_with(end))
    {
        word.truncate(word.len() - 2);
    } else if word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        word.pop();
    }
}

fn cut_verb(word: &mut String) {
    let cut = if word.ends_with("ied") && word.len() > 4 {
        word.truncate(word.len() - 3);
        word.push('y');
        return;
    } else if word.ends_with("ing") && word.len() > 5 {
        3
    } else if word.ends_with("ed") && !word.ends_with("eed") && word.len() > 4 {
        2
    } else {
        return;
    };
    let rest = &word[..word.len() - cut];
    if rest.len() < 3 || !rest.bytes().any(|b| b"aeiouy".contains(&b)) {
        return;
    }
    word.truncate(word.len() - cut);
    undouble(word);
}

/// One consonant for two at the end, as in `stopped`.
pub fn undouble(word: &mut String) {
    let bytes = word.as_bytes();
    if let [.., a, b] = bytes
        && a == b
        && bytes.len() > 3
        && !b"aeioulsz".contains(b)
    {
        word.pop();
    }
}

/// Shorter words that a stem may be built from, best first: `cheap` of `cheapest`, `encrypt` of
/// `encryption`.
pub fn roots(stem: &str) -> impl Iterator<Item = String> {
    const ENDINGS: [(&str, &str); 16] = [
        ("iest", "y"),
        ("ier", "y"),
        ("est", ""),
        ("er", ""),
        ("or", ""),
        ("ability", "abl"),
        ("ation", ""),
        ("ation", "at"),
        ("ition", "it"),
        ("ion", ""),
        ("ment", ""),
        ("ness", ""),
        ("able", ""),
        ("abl", ""),
        ("al", ""),
        ("ance", ""),
    ];
    ENDINGS.into_iter().filter_map(move |(ending, instead)| {
        let base = stem.strip_suffix(ending).filter(|base| base.len() > 2)?;
        let mut root = format!("{base}{instead}");
        undouble(&mut root);
        Some(root)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem(word: &str) -> String {
        let mut stem = word.to_string();
        cut(&mut stem);
        stem
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
        let has = |word: &str, root: &str| roots(&stem(word)).any(|found| found == root);
        assert!(has("cheapest", "cheap") && has("bigger", "big") && has("easier", "easy"));
        assert!(has("encryption", "encrypt") && has("activation", "activat"));
    }
}
