//! What is known of a language: its tables, read from files once.
//!
//! A language is a folder of text files beside this one, and a constant here that includes them. In
//! each file `#` starts a comment, and a line is an entry. See the heads of the files.

use super::class;
use super::stem::{cut, roots};
use std::sync::LazyLock;

/// English.
pub static ENGLISH: LazyLock<Language> = LazyLock::new(|| {
    Language::read(&Files {
        words: include_str!("english/words.txt"),
        opposites: include_str!("english/opposites.txt"),
        times: include_str!("english/times.txt"),
        alternatives: include_str!("english/alternatives.txt"),
        affixes: include_str!("english/affixes.txt"),
        synonyms: include_str!("english/synonyms.txt"),
        idioms: include_str!("english/idioms.txt"),
        units: include_str!("english/units.txt"),
    })
});

/// The files of a language.
struct Files {
    words: &'static str,
    opposites: &'static str,
    times: &'static str,
    alternatives: &'static str,
    affixes: &'static str,
    synonyms: &'static str,
    idioms: &'static str,
    units: &'static str,
}

/// What is known of a word form.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Classes.
    pub class: u32,
    /// The value of a number word, in millionths.
    pub number: Option<u64>,
    /// 1 to 12 for a month, 1 to 7 for a day of the week, else 0.
    pub calendar: u8,
    /// The unit.
    pub unit: Option<Unit>,
    /// What a sentence that begins with it asks for.
    pub asks: Option<Asked>,
}

impl Form {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        class: 0,
        number: None,
        calendar: 0,
        unit: None,
        asks: None,
    };
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
    /// How many.
    Amount,
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
}

/// Their names in `words.txt`.
const ASKED: [(&str, Asked); 10] = [
    ("person", Asked::Person),
    ("time", Asked::Time),
    ("place", Asked::Place),
    ("reason", Asked::Reason),
    ("amount", Asked::Amount),
    ("way", Asked::Way),
    ("thing", Asked::Thing),
    ("truth", Asked::Truth),
    ("advice", Asked::Advice),
    ("possibility", Asked::Possibility),
];

/// A unit of measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// What is measured: units of the same can be converted.
    pub dimension: u8,
    /// How many of the smallest unit of its dimension.
    pub factor: u64,
}

/// A place on an axis of meanings that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sense {
    /// The axis.
    pub axis: u16,
    /// Which of its poles.
    pub pole: u8,
}

/// Words that stand for a sense together.
pub struct Phrase {
    /// The hashes of the stems of its words behind the first.
    pub rest: Vec<u64>,
    /// Other words may stand behind the first.
    pub gap: bool,
    /// What it may mean; nothing for an idiom.
    pub senses: Vec<Sense>,
}

/// A pair of beginnings or ends of words that makes them exclude each other.
pub struct Affix {
    /// The one; empty where it is nothing.
    pub one: &'static str,
    /// The other.
    pub other: &'static str,
    /// These are beginnings, else ends.
    pub is_prefix: bool,
    /// What is left must be one of `words`, else none of them.
    pub is_only: bool,
    /// Words that are left.
    pub words: &'static str,
}

/// All that is known of a word, as a form and as a stem.
struct Word {
    form: Form,
    /// The word that it is an irregular form of, or empty.
    lemma: &'static str,
    /// What it stands for, with `+` between words, or empty.
    contraction: &'static str,
    /// The hash of the word that stands for all that mean the same, or 0.
    meaning: u64,
    /// The phrases that begin with it as a stem.
    phrases: Vec<Phrase>,
}

/// A language. Words are known by their hashes.
pub struct Language {
    /// An open hash table, at least half empty.
    slots: Vec<(u64, u32)>,
    words: Vec<Word>,
    /// The axes of opposites end here, and those of times begin.
    pub first_time: u16,
    /// From this axis on, axes exclude each other only in texts that are otherwise the same.
    pub first_weak: u16,
    /// Pairs of beginnings and ends.
    pub affixes: Vec<Affix>,
}

/// More than twice as many as a language has words.
const SLOTS: usize = 1 << 13;

impl Language {
    fn read(files: &Files) -> Self {
        let mut language = Self {
            slots: vec![(0, u32::MAX); SLOTS],
            words: Vec::new(),
            first_time: 0,
            first_weak: 0,
            affixes: Vec::new(),
        };
        let read = &mut language;
        each_line(files.words, &mut |line| read.read_words(line));
        each_line(files.units, &mut |line| read.read_units(line));
        let mut axis = 0;
        let ends = [files.opposites, files.times, files.alternatives].map(|file| {
            each_line(file, &mut |line| {
                for (pole, words) in line.split("<>").enumerate() {
                    let pole = pole as u8;
                    read.read_phrases(words, Some(Sense { axis, pole }));
                }
                axis += 1;
            });
            axis
        });
        read.first_time = ends[0];
        read.first_weak = ends[1];
        each_line(files.idioms, &mut |line| read.read_phrases(line, None));
        each_line(files.synonyms, &mut |line| read.read_synonyms(line));
        each_line(files.affixes, &mut |line| read.read_affix(line));
        language
    }

    fn read_words(&mut self, line: &'static str) {
        let (name, words) = line.split_once(": ").unwrap_or((line, ""));
        let class = class::NAMES
            .iter()
            .find(|(class, _)| *class == name)
            .map_or(0, |class| class.1);
        for (n, word) in words.split(' ').enumerate() {
            let (word, value) = word.split_once('=').unwrap_or((word, ""));
            let entry = self.entry(hash(word));
            entry.form.class |= class;
            match name {
                "irregular" | "irregular-verb" => entry.lemma = value,
                "contraction" => entry.contraction = value,
                "number" | "scale" | "fraction" => entry.form.number = value.parse().ok(),
                "asks" => {
                    let found = ASKED.iter().find(|(name, _)| *name == value);
                    entry.form.asks = found.map(|found| found.1);
                }
                // Each has three forms.
                "month" | "weekday" => entry.form.calendar = (n / 3 + 1) as u8,
                _ => debug_assert!(class != 0, "{name}"),
            }
        }
    }

    /// The first word stands for all.
    fn read_synonyms(&mut self, line: &'static str) {
        let mut first = 0;
        for word in line.split(' ') {
            let stem = hash(&self.stem(word));
            if first == 0 {
                first = stem;
            }
            self.entry(stem).meaning = first;
        }
    }

    fn read_units(&mut self, line: &'static str) {
        let mut unit = Unit {
            dimension: 0,
            factor: 0,
        };
        for word in line.split(' ') {
            match word.parse() {
                Ok(number) if unit.dimension == 0 => unit.dimension = number as u8,
                Ok(number) => unit.factor = number,
                Err(_) => self.entry(hash(word)).form.unit = Some(unit),
            }
        }
    }

    /// Reads phrases with commas between them.
    fn read_phrases(&mut self, phrases: &str, sense: Option<Sense>) {
        for phrase in phrases.split(',') {
            let (mut first, mut rest, mut gap) = (0, Vec::new(), false);
            for word in phrase.trim_ascii().split([' ', '~']) {
                let stem = hash(&self.stem(word));
                if first == 0 {
                    first = stem;
                } else {
                    rest.push(stem);
                }
            }
            gap |= phrase.contains('~');
            let phrases = &mut self.entry(first).phrases;
            // The longest that fits is the one that is meant.
            let mut at = 0;
            while at < phrases.len() && phrases[at].rest.len() >= rest.len() {
                if phrases[at].rest == rest && phrases[at].gap == gap {
                    break;
                }
                at += 1;
            }
            if at == phrases.len() || phrases[at].rest != rest || phrases[at].gap != gap {
                let senses = Vec::new();
                phrases.insert(at, Phrase { rest, gap, senses });
            }
            phrases[at].senses.extend(sense);
        }
    }

    fn read_affix(&mut self, line: &'static str) {
        let mut fields = line.splitn(4, ' ');
        let mut next = || fields.next().unwrap_or("");
        let (place, pair, rule, words) = (next(), next(), next(), next());
        let (one, other) = pair.split_once('/').unwrap_or((pair, ""));
        self.affixes.push(Affix {
            one,
            other,
            is_prefix: place == "prefix",
            is_only: rule == "only",
            words,
        });
    }

    /// Where a word is in `slots`, or may be put.
    fn slot(&self, hash: u64) -> usize {
        let mut at = hash as usize % SLOTS;
        while self.slots[at].1 != u32::MAX && self.slots[at].0 != hash {
            at = (at + 1) % SLOTS;
        }
        at
    }

    fn entry(&mut self, hash: u64) -> &mut Word {
        let slot = self.slot(hash);
        if self.slots[slot].1 == u32::MAX {
            self.slots[slot] = (hash, self.words.len() as u32);
            self.words.push(Word {
                form: Form::UNKNOWN,
                lemma: "",
                contraction: "",
                meaning: 0,
                phrases: Vec::new(),
            });
        }
        let at = self.slots[slot].1 as usize;
        &mut self.words[at]
    }

    fn get(&self, hash: u64) -> Option<&Word> {
        let at = self.slots[self.slot(hash)].1;
        self.words.get(at as usize)
    }

    /// What is known of a word form.
    pub fn form(&self, word: &str) -> Form {
        self.get(hash(word)).map_or(Form::UNKNOWN, |word| word.form)
    }

    /// What a contraction stands for, with `+` between words, or nothing.
    pub fn contraction(&self, word: &str) -> &'static str {
        self.get(hash(word)).map_or("", |word| word.contraction)
    }

    /// The stem of a word form.
    pub fn stem(&self, word: &str) -> String {
        let mut stem = String::new();
        self.read_form(word, &mut stem);
        stem
    }

    /// What is known of a word form. Its stem is put into a buffer.
    pub fn read_form(&self, word: &str, stem: &mut String) -> Form {
        let known = self.get(hash(word));
        let lemma = known.map_or("", |known| known.lemma);
        stem.clear();
        stem.push_str(if lemma.is_empty() { word } else { lemma });
        cut(stem);
        known.map_or(Form::UNKNOWN, |known| known.form)
    }

    /// The phrases that begin with a stem, or with what it is built from.
    pub fn phrases(&self, stem: u64, word: &str) -> &[Phrase] {
        if let Some(known) = self.get(stem) {
            return &known.phrases;
        }
        let of = |root: String| Some(self.get(hash(&root))?.phrases.as_slice());
        roots(&self.stem(word)).find_map(of).unwrap_or(&[])
    }

    /// One word for all that mean the same.
    pub fn meaning(&self, stem: u64) -> u64 {
        match self.get(stem) {
            Some(word) if word.meaning != 0 => word.meaning,
            _ => stem,
        }
    }
}

/// FNV-1a. Words are the same if their hashes are; of different words that never happens by chance.
pub fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The lines of a file that are no comments.
fn each_line(file: &'static str, read: &mut dyn FnMut(&'static str)) {
    for line in file.split('\n') {
        let line = line.trim_ascii();
        if !line.is_empty() && !line.starts_with('#') {
            read(line);
        }
    }
}
