//! What is known of a language: its tables, read from files once.
//!
//! A language is a folder of text files beside this one, and a constant here that includes them. In
//! each file `#` starts a comment, and a line is an entry. See the heads of the files. The files are
//! packed when this is compiled.

use super::bytes::{any, number, parts};
use super::class;
use super::fold::Alike;
use super::numbers;
use super::pack::{END_OF_FILE, FIRST_CLASS, Packed, pack};
use super::stem::{cut, root};
use std::sync::LazyLock;

#[allow(long_running_const_eval)]
const PACKED: Packed = pack(&[
    include_str!("english/words.txt"),
    include_str!("english/units.txt"),
    include_str!("english/opposites.txt"),
    include_str!("english/times.txt"),
    include_str!("english/alternatives.txt"),
    include_str!("english/idioms.txt"),
    include_str!("english/synonyms.txt"),
    include_str!("english/affixes.txt"),
]);

/// The places of the files above.
const WORDS: usize = 0;
const UNITS: usize = 1;
const OPPOSITES: usize = 2;
const TIMES: usize = 3;
const ALTERNATIVES: usize = 4;
const IDIOMS: usize = 5;
const SYNONYMS: usize = 6;

static FILES: [u8; PACKED.len] = {
    let mut files = [0; PACKED.len];
    files.copy_from_slice(PACKED.bytes.split_at(PACKED.len).0);
    files
};

/// English.
pub static ENGLISH: LazyLock<Language> = LazyLock::new(|| Language::read(&FILES));

/// What is known of a word form.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The value of a number word, in millionths; of a unit how many of the smallest of its dimension.
    pub value: u64,
    /// Classes.
    pub class: u32,
    /// 1 to 12 for a month, 1 to 7 for a day of the week, else 0.
    pub calendar: u8,
    /// What a unit measures: those of the same can be converted. 0 for what is no unit.
    pub dimension: u8,
    /// What a sentence that begins with it asks for.
    pub asks: Option<Asked>,
}

impl Form {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        value: 0,
        class: 0,
        calendar: 0,
        dimension: 0,
        asks: None,
    };

    /// The unit that it is.
    pub fn unit(&self) -> Unit {
        if self.dimension == 0 {
            return Unit::NONE;
        }
        Unit {
            dimension: self.dimension,
            factor: self.value,
        }
    }
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Who.
    Person,
    /// When.
    Time,
    /// Where.
    Place,
    /// Why.
    Reason,
    /// How.
    Way,
    /// What.
    Thing,
    /// Yes or no: whether it is so.
    Truth,
    /// Yes or no: whether to do so.
    Advice,
    /// Yes or no: whether it can be done, which is often asked for the way.
    Possibility,
    /// How many.
    Amount,
}

/// In the order of their names in [`class::NAMES`].
const ASKED: [Asked; 9] = [
    Asked::Person,
    Asked::Time,
    Asked::Place,
    Asked::Reason,
    Asked::Way,
    Asked::Thing,
    Asked::Truth,
    Asked::Advice,
    Asked::Possibility,
];

/// A unit of measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// What is measured: units of the same can be converted. 0 for no unit.
    pub dimension: u8,
    /// How many of the smallest unit of its dimension.
    pub factor: u64,
}

impl Unit {
    /// No unit.
    pub const NONE: Self = Self {
        dimension: 0,
        factor: 0,
    };
}

/// A place on an axis of meanings that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense(u32);

impl Sense {
    /// That of an idiom.
    pub const NONE: Self = Self(u32::MAX);

    fn new(axis: usize, pole: usize) -> Self {
        Self((axis << 8 | pole) as u32)
    }

    /// That of a key.
    pub fn of_key(key: u32) -> Self {
        Self(key)
    }

    /// The axis.
    pub fn axis(self) -> u32 {
        self.0 >> 8
    }

    /// Which of its poles.
    pub fn pole(self) -> u32 {
        self.0 & 0xff
    }

    /// Senses are in order by axis and pole. No hash of a word is likely to be that small.
    pub fn key(self) -> u32 {
        self.0
    }
}

/// The most words of a phrase behind the first.
const MOST_BEHIND: usize = 3;

/// Words that stand for a sense together.
#[derive(Clone, Copy)]
pub struct Phrase {
    behind: [u32; MOST_BEHIND],
    /// How many words it has behind the first.
    pub len: u8,
    /// Other words may stand behind the first.
    pub gap: bool,
    /// What it may mean.
    pub sense: Sense,
    /// The phrase before it in the files that begins with the same word; 0 for none.
    pub next: u16,
}

impl Phrase {
    /// It has the same words, and may mean something else.
    pub fn is_same(&self, other: &Self) -> bool {
        self.gap == other.gap && self.behind() == other.behind()
    }

    /// The hashes of the stems of its words behind the first.
    pub fn behind(&self) -> &[u32] {
        self.behind.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// A pair of beginnings or ends of words that makes them exclude each other.
pub struct Affix {
    /// The one; empty where it is nothing.
    pub one: &'static [u8],
    /// The other.
    pub other: &'static [u8],
    /// These are beginnings, else ends.
    pub is_prefix: bool,
    /// What is left must be one of `words`, else none of them.
    pub is_only: bool,
    /// Words that are left.
    pub words: &'static [u8],
}

/// All that is known of a word, as a form and as a stem.
#[derive(Clone, Copy)]
pub struct Word {
    /// As a form.
    pub form: Form,
    hash: u32,
    /// The hash of the word that stands for all that mean the same, or 0.
    pub meaning: u32,
    /// The word that it is an irregular form of, or empty.
    lemma: &'static [u8],
    /// What it stands for, with `+` between words, or empty.
    pub contraction: &'static [u8],
    /// The last phrase in the files that begins with it as a stem; 0 for none.
    pub first: u16,
}

/// A language. Words are known by their hashes.
pub struct Language {
    /// An open hash table of places in `words`, at least a quarter empty.
    slots: Vec<u16>,
    /// The first one is no word.
    words: Vec<Word>,
    /// The first one is no phrase.
    phrases: Vec<Phrase>,
    /// The axes of opposites end here, and those of times begin.
    pub first_time: u32,
    /// From this axis on, axes exclude each other only in texts that are otherwise the same.
    pub first_weak: u32,
    /// Pairs of beginnings and ends.
    pub affixes: Vec<Affix>,
    /// Characters that look like those of its script.
    pub alike: Alike,
}

/// More than the words of a language by a third or more.
const SLOTS: usize = 1 << 13;

impl Language {
    #[cold]
    fn read(files: &'static [u8]) -> Self {
        let nothing = Word {
            form: Form::UNKNOWN,
            hash: 0,
            meaning: 0,
            lemma: b"",
            contraction: b"",
            first: 0,
        };
        let idiom = Phrase {
            behind: [0; MOST_BEHIND],
            len: 0,
            gap: false,
            sense: Sense::NONE,
            next: 0,
        };
        let mut language = Self {
            slots: vec![0; SLOTS],
            words: vec![nothing],
            phrases: vec![idiom],
            first_time: 0,
            first_weak: 0,
            affixes: Vec::new(),
            alike: Alike::new(),
        };
        let mut axis = 0;
        for (file, text) in parts(files, END_OF_FILE).enumerate() {
            match file {
                TIMES => language.first_time = axis as u32,
                ALTERNATIVES => language.first_weak = axis as u32,
                _ => {}
            }
            for line in parts(text, b'\n') {
                if line.is_empty() {
                    continue;
                }
                match file {
                    WORDS => language.read_words(line),
                    UNITS | SYNONYMS => language.read_list(line, file == UNITS),
                    OPPOSITES..=ALTERNATIVES => {
                        for (pole, words) in parts(line, b'<').enumerate() {
                            language.read_phrases(words, Sense::new(axis, pole));
                        }
                        axis += 1;
                    }
                    IDIOMS => language.read_phrases(line, Sense::NONE),
                    _ => language.read_affix(line),
                }
            }
        }
        language
    }

    fn read_words(&mut self, line: &'static [u8]) {
        let name = usize::from(line[0] - FIRST_CLASS);
        let mut class = 0;
        if name < class::IRREGULAR {
            class = 1 << name;
        }
        for (n, item) in parts(&line[1..], b' ').enumerate() {
            let mut value = parts(item, b'=');
            let word = value.next().unwrap_or(item);
            let value = value.rest();
            let entry = self.entry(hash(word));
            entry.form.class |= class;
            if class >= class::NUMBER {
                entry.form.class |= class::NUMBER;
                entry.form.value = numbers::value(value);
            } else if class & (class::MONTH | class::WEEKDAY) != 0 {
                // Each has three forms.
                entry.form.calendar = (n / 3 + 1) as u8;
            } else if name == class::CONTRACTION {
                entry.contraction = value;
            } else if name >= class::FIRST_ASKED {
                entry.form.asks = ASKED.get(name - class::FIRST_ASKED).copied();
            } else if !value.is_empty() {
                entry.lemma = value;
            }
        }
    }

    /// Words that mean the same, of which the first stands for all, or units.
    fn read_list(&mut self, line: &'static [u8], units: bool) {
        let (mut dimension, mut factor, mut first) = (0, 0, 0);
        for word in parts(line, b' ') {
            if !units {
                let stem = self.stem_hash(word);
                if first == 0 {
                    first = stem;
                }
                self.entry(stem).meaning = first;
            } else if !word[0].is_ascii_digit() {
                let form = &mut self.entry(hash(word)).form;
                debug_assert!(form.class & class::NUMBER == 0, "a unit with two values");
                form.dimension = dimension;
                form.value = factor;
            } else if dimension == 0 {
                dimension = number(word).unwrap_or(0) as u8;
            } else {
                factor = numbers::value(word) / numbers::ONE;
            }
        }
    }

    /// Reads phrases with commas between them.
    fn read_phrases(&mut self, phrases: &[u8], sense: Sense) {
        for words in parts(phrases, b',') {
            let mut phrase = Phrase {
                behind: [0; MOST_BEHIND],
                len: 0,
                gap: any(words, b"~"),
                sense,
                next: 0,
            };
            let mut first = None;
            for word in parts(words, b'~').flat_map(|words| parts(words, b' ')) {
                let stem = self.stem_hash(word);
                if first.is_none() {
                    first = Some(stem);
                } else if let Some(behind) = phrase.behind.get_mut(usize::from(phrase.len)) {
                    *behind = stem;
                    phrase.len += 1;
                }
            }
            // The last one that is read comes first.
            let place = self.phrases.len() as u16;
            let word = self.entry(first.unwrap_or(0));
            phrase.next = std::mem::replace(&mut word.first, place);
            self.phrases.push(phrase);
        }
    }

    fn read_affix(&mut self, line: &'static [u8]) {
        let mut fields = parts(line, b' ');
        let mut next = || fields.next().unwrap_or(b"");
        let (place, pair, rule) = (next(), next(), next());
        let mut pair = parts(pair, b'/');
        self.affixes.push(Affix {
            one: pair.next().unwrap_or(b""),
            other: pair.rest(),
            is_prefix: place.starts_with(b"p"),
            is_only: rule.starts_with(b"o"),
            words: fields.rest(),
        });
    }

    /// Where a word is in `words`, or 0, and its slot.
    fn find(&self, hash: u32) -> (usize, usize) {
        let mut slot = hash as usize % SLOTS;
        loop {
            let at = usize::from(self.slots[slot]);
            if at == 0 || self.words[at].hash == hash {
                return (at, slot);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    #[inline(never)]
    fn entry(&mut self, hash: u32) -> &mut Word {
        let (mut at, slot) = self.find(hash);
        if at == 0 {
            at = self.words.len();
            self.slots[slot] = at as u16;
            self.words.push(Word {
                hash,
                ..self.words[0]
            });
        }
        &mut self.words[at]
    }

    /// What is known of a word, by the hash of it or of its stem.
    #[inline(never)]
    pub fn get(&self, hash: u32) -> &Word {
        &self.words[self.find(hash).0]
    }

    /// What is known of a word form.
    pub fn form(&self, word: &[u8]) -> &Form {
        &self.get(hash(word)).form
    }

    /// What is known of a word form, and the hash of its stem. The stem is put into a buffer.
    #[inline(never)]
    pub fn read_form(&self, word: &[u8], stem: &mut Vec<u8>) -> (&Word, u32) {
        let of_word = hash(word);
        let known = self.get(of_word);
        let lemma = if known.lemma.is_empty() {
            word
        } else {
            known.lemma
        };
        stem.clear();
        stem.extend_from_slice(lemma);
        cut(stem);
        let is_stem = known.lemma.is_empty() && stem.len() == word.len();
        (known, if is_stem { of_word } else { hash(stem) })
    }

    fn stem_hash(&self, word: &[u8]) -> u32 {
        self.read_form(word, &mut Vec::new()).1
    }

    /// What is known of a stem, or of what the stem of a word is built from.
    pub fn root(&self, stem: u32, word: &[u8], buffer: &mut Vec<u8>) -> &Word {
        let mut known = self.get(stem);
        let mut ending = 0;
        while known.hash == 0 {
            self.read_form(word, buffer);
            if !root(buffer, &mut ending) {
                break;
            }
            known = self.get(hash(buffer));
        }
        known
    }

    /// A phrase, if there is one.
    pub fn phrase(&self, at: u16) -> Option<&Phrase> {
        if at == 0 {
            return None;
        }
        self.phrases.get(usize::from(at))
    }
}

/// FNV-1a. Words are the same if their hashes are: different words seldom have the same by chance.
#[inline(never)]
pub fn hash(word: &[u8]) -> u32 {
    word.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_files_fit_into_the_tables() {
        let language = &ENGLISH;
        assert!(
            language.words.len() <= SLOTS * 3 / 4,
            "{}",
            language.words.len()
        );
        assert!(language.phrases.len() <= usize::from(u16::MAX));
        let files = parts(&FILES, END_OF_FILE).take(IDIOMS + 1);
        for text in files.skip(OPPOSITES) {
            for phrase in text.split(|byte| b"\n<,".contains(byte)) {
                let words = phrase.split(|byte| b" ~".contains(byte)).count();
                assert!(words <= MOST_BEHIND + 1, "{phrase:?}");
            }
        }
    }

    #[test]
    fn different_words_have_different_hashes() {
        let mut words = BTreeMap::new();
        for word in FILES.split(|byte| !byte.is_ascii_alphabetic() && *byte != b'\'') {
            let other = words.insert(hash(word), word);
            assert!(
                other.is_none_or(|other| other == word),
                "{word:?} {other:?}"
            );
        }
    }
}
