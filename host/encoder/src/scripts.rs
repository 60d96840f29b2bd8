//! Which writing systems a model has learned.
//!
//! A vocabulary has single letters of many scripts, and the model knows no word of them: all texts
//! in such a script would be alike.

use std::collections::{HashMap, HashSet};

use unicode_script::{Script, UnicodeScript};

/// Tokens of two or more letters of a script that a vocabulary has if the model has learned to read
/// it. BERT's English vocabulary has 27,533 of Latin, and 8 of Cyrillic as the next.
const WORDS: usize = 50;
/// The same of tokens of any length, for scripts whose letters are words. BERT's English vocabulary
/// has 488 of Chinese.
const SIGNS: usize = 1_000;

/// The scripts that a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scripts(Option<HashSet<Script>>);

impl Scripts {
    /// Those of a vocabulary.
    pub fn of<'a>(tokens: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<Script, (usize, usize)> = HashMap::new();
        for token in tokens {
            let mut letters = token.chars().filter_map(script);
            if let Some(script) = letters.next() {
                let (words, signs) = counts.entry(script).or_default();
                *words += usize::from(letters.next().is_some());
                *signs += 1;
            }
        }
        // Whatever the size of the vocabulary, it was made for the script that most of it is of.
        let main = counts.values().map(|(_, signs)| *signs).max();
        let known = counts.into_iter().filter(|(_, (words, signs))| {
            *words >= WORDS || *signs >= SIGNS || Some(*signs) == main
        });
        Self(Some(known.map(|(script, _)| script).collect()))
    }

    /// The Latin script alone.
    #[cfg(feature = "bundled")]
    pub fn latin() -> Self {
        Self(Some(HashSet::from([Script::Latin])))
    }

    /// Of a model whose tokens are bytes, which reads them all as far as this can tell.
    pub fn all() -> Self {
        Self(None)
    }

    /// Whether a text has a letter of a script that the model does not read.
    pub fn are_strange_to(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|known| {
            text.chars()
                .filter_map(script)
                .any(|script| !known.contains(&script))
        })
    }
}

/// The script of a letter: none of other characters, and of letters that many scripts use.
fn script(character: char) -> Option<Script> {
    if !character.is_alphabetic() {
        return None;
    }
    match character.script() {
        Script::Common | Script::Inherited | Script::Unknown => None,
        // Japanese is written with all three.
        Script::Hiragana | Script::Katakana => Some(Script::Hiragana),
        script => Some(script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_words_or_by_very_many_signs() {
        let latin = (0..WORDS).map(|n| format!("word{n}"));
        let greek = (0..WORDS - 1).map(|n| format!("λόγος{n}"));
        let cyrillic = (0..SIGNS - 1).map(|n| format!("##п{n}"));
        let han = ('\u{4E00}'..).take(SIGNS).map(String::from);
        let digits = (0..SIGNS).map(|n| n.to_string());
        let tokens: Vec<String> = latin
            .chain(greek)
            .chain(cyrillic)
            .chain(han)
            .chain(digits)
            .collect();
        let scripts = Scripts::of(tokens.iter().map(String::as_str));
        for known in [
            "word",
            "crème brûlée",
            "12,5 %",
            "",
            "?",
            "naïve 🙂",
            "密码",
        ] {
            assert!(!scripts.are_strange_to(known), "{known}");
        }
        for strange in ["λόγος", "пароль", "パスワード", "a α"] {
            assert!(scripts.are_strange_to(strange), "{strange}");
        }
        assert!(!Scripts::all().are_strange_to("λόγος"));
    }
}
