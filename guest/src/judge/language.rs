//! What is known of a language: its tables, read from files once.
//!
//! A language is a folder of text files beside this one, and a constant here that includes them. In
//! each file `#` starts a comment, and a line is an entry. See the heads of the files.

use super::stem::{roots, stem};
use super::table::Table;
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

/// What a word form is for; a set of these.
pub mod class {
    /// Says little about what is asked.
    pub const FUNCTION: u32 = 1;
    /// Turns what is said into its contrary.
    pub const NEGATION: u32 = 1 << 1;
    /// Begins a question of yes or no.
    pub const AUXILIARY: u32 = 1 << 2;
    /// Asks for a thing: who, when, where.
    pub const QUESTION: u32 = 1 << 3;
    /// Joins equals: `and`, `or`, `vs`.
    pub const JOINER: u32 = 1 << 4;
    /// What follows is where something goes: `to`, `into`.
    pub const GOAL: u32 = 1 << 5;
    /// What follows is where something comes from.
    pub const SOURCE: u32 = 1 << 6;
    /// What follows has another part in what is said than what stands before.
    pub const MARKER: u32 = 1 << 7;
    /// Says the same of both its sides: `difference`, `distance`.
    pub const SYMMETRIC: u32 = 1 << 8;
    /// A letter or a number behind it is a name: `vitamin`, `type`.
    pub const CARRIER: u32 = 1 << 9;
    /// A function word of another language that is no word of this one.
    pub const FOREIGN: u32 = 1 << 10;
    /// A month behind it is a month, `may` too.
    pub const BEFORE_MONTH: u32 = 1 << 11;
    /// A number word that is often no number: `one`, `second`.
    pub const WEAK_NUMBER: u32 = 1 << 12;
    /// An ordinal.
    pub const ORDINAL: u32 = 1 << 13;
    /// A month's name that is another word too.
    pub const UNSURE_MONTH: u32 = 1 << 14;
    /// Time before noon.
    pub const MORNING: u32 = 1 << 15;
    /// Time after noon.
    pub const AFTERNOON: u32 = 1 << 16;
    /// Behind these a negation negates nothing: `whether or not`.
    pub const CANCELS_NEGATION: u32 = 1 << 17;
    /// A number beside it is a sum of money.
    pub const MONEY: u32 = 1 << 18;
    /// `a`, `the`.
    pub const ARTICLE: u32 = 1 << 19;
    /// `of`, between a part and the whole.
    pub const PARTITIVE: u32 = 1 << 20;
    /// Between two that are compared: `than`.
    pub const COMPARISON: u32 = 1 << 21;
    /// A negation before these negates nothing: `not only`.
    pub const UNNEGATED: u32 = 1 << 22;
    /// Behind `how`: it asks for an amount.
    pub const AMOUNT: u32 = 1 << 23;
    /// Behind `how`: it asks for a reason.
    pub const REASON: u32 = 1 << 24;
    /// A participle behind it is what is done, not a state.
    pub const PASSIVE: u32 = 1 << 26;
    /// A part of a number before it: `quarters`.
    pub const FRACTION: u32 = 1 << 25;
}

/// The names of classes in `words.txt`.
const CLASSES: [(&str, u32); 26] = [
    ("function", class::FUNCTION),
    ("negation", class::NEGATION),
    ("auxiliary", class::AUXILIARY),
    ("question", class::QUESTION),
    ("joiner", class::JOINER),
    ("goal", class::GOAL),
    ("source", class::SOURCE),
    ("marker", class::MARKER),
    ("symmetric", class::SYMMETRIC),
    ("carrier", class::CARRIER),
    ("foreign", class::FOREIGN),
    ("before-month", class::BEFORE_MONTH),
    ("weak-number", class::WEAK_NUMBER),
    ("ordinal", class::ORDINAL),
    ("unsure-month", class::UNSURE_MONTH),
    ("morning", class::MORNING),
    ("afternoon", class::AFTERNOON),
    ("cancels-negation", class::CANCELS_NEGATION),
    ("money", class::MONEY),
    ("article", class::ARTICLE),
    ("partitive", class::PARTITIVE),
    ("comparison", class::COMPARISON),
    ("unnegated", class::UNNEGATED),
    ("amount", class::AMOUNT),
    ("reason", class::REASON),
    ("passive", class::PASSIVE),
];

/// What is known of a word form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Classes.
    pub class: u32,
    /// The value of a number word, in millionths.
    pub number: Option<u64>,
    /// Multiplies the number before it.
    pub scale: bool,
    /// 1 to 12.
    pub month: Option<u8>,
    /// 1 to 7.
    pub weekday: Option<u8>,
    /// The unit.
    pub unit: Option<Unit>,
    /// An irregular past or participle.
    pub participle: bool,
    /// What a sentence that begins with it asks for.
    pub asks: Option<Asked>,
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
    /// The stems of its words behind the first.
    pub rest: Vec<String>,
    /// Other words may stand behind the first.
    pub gap: bool,
    /// What it may mean; nothing for an idiom.
    pub senses: Vec<Sense>,
}

/// A pair of beginnings or ends of words that makes them exclude each other.
pub struct Affix {
    /// The one; empty where it is nothing.
    pub one: String,
    /// The other.
    pub other: String,
    /// What is left must be one of these; empty: anything that is not in `except`.
    pub only: Vec<String>,
    /// What is left must be none of these.
    pub except: Vec<String>,
}

/// A language.
pub struct Language {
    forms: Table<Form>,
    irregular: Table<&'static str>,
    phrases: Table<Vec<Phrase>>,
    meanings: Table<String>,
    contractions: Table<&'static str>,
    /// The axes of opposites end here, and those of times begin.
    pub first_time: u16,
    /// From this axis on, axes exclude each other only in texts that are otherwise the same.
    pub first_weak: u16,
    /// Pairs of beginnings.
    pub prefixes: Vec<Affix>,
    /// Pairs of ends.
    pub suffixes: Vec<Affix>,
}

impl Language {
    fn read(files: &Files) -> Self {
        let mut language = Self {
            forms: Table::default(),
            irregular: Table::default(),
            phrases: Table::default(),
            meanings: Table::default(),
            contractions: Table::default(),
            first_time: 0,
            first_weak: 0,
            prefixes: Vec::new(),
            suffixes: Vec::new(),
        };
        for line in lines(files.words) {
            language.read_words(line);
        }
        for line in lines(files.units) {
            language.read_units(line);
        }
        let mut axis = 0;
        for line in lines(files.opposites) {
            language.read_axis(line, axis);
            axis += 1;
        }
        language.first_time = axis;
        for line in lines(files.times) {
            language.read_axis(line, axis);
            axis += 1;
        }
        language.first_weak = axis;
        for line in lines(files.alternatives) {
            language.read_axis(line, axis);
            axis += 1;
        }
        for line in lines(files.idioms) {
            for idiom in line.split(',') {
                language.add_phrase(idiom, None);
            }
        }
        for line in lines(files.synonyms) {
            let words: Vec<String> = line
                .split_whitespace()
                .map(|word| language.stem(word))
                .collect();
            for word in &words {
                *language.meanings.entry(word) = words[0].clone();
            }
        }
        for line in lines(files.affixes) {
            language.read_affix(line);
        }
        language
    }

    fn read_words(&mut self, line: &'static str) {
        let Some((name, words)) = line.split_once(':') else {
            return;
        };
        let class = CLASSES.iter().find(|(class, _)| *class == name);
        for (n, word) in words.split_whitespace().enumerate() {
            let (word, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "irregular" | "irregular-verb" => {
                    *self.irregular.entry(word) = value;
                    if name == "irregular-verb" {
                        self.forms.entry(word).participle = true;
                    }
                    continue;
                }
                "contraction" => {
                    *self.contractions.entry(word) = value;
                    continue;
                }
                _ => {}
            }
            let form = self.forms.entry(word);
            match name {
                "number" | "scale" | "fraction" => {
                    form.number = value.parse().ok();
                    form.scale = name == "scale";
                    if name == "fraction" {
                        form.class |= class::FRACTION;
                    }
                }
                "asks" => {
                    let found = ASKED.iter().find(|(name, _)| *name == value);
                    form.asks = found.map(|found| found.1);
                }
                "month" => form.month = Some((n / 3 + 1) as u8),
                "weekday" => form.weekday = Some((n / 4 + 1) as u8),
                _ => {
                    debug_assert!(class.is_some(), "{name}");
                    form.class |= class.map_or(0, |class| class.1);
                }
            }
        }
    }

    fn read_units(&mut self, line: &'static str) {
        let mut fields = line.split_whitespace();
        let (Some(dimension), Some(factor)) = (fields.next(), fields.next()) else {
            return;
        };
        let unit = Unit {
            dimension: dimension.parse().unwrap_or(0),
            factor: factor.parse().unwrap_or(1),
        };
        for word in fields {
            self.forms.entry(word).unit = Some(unit);
        }
    }

    fn read_axis(&mut self, line: &'static str, axis: u16) {
        for (pole, words) in line.split("<>").enumerate() {
            for phrase in words.split(',') {
                let pole = pole as u8;
                self.add_phrase(phrase, Some(Sense { axis, pole }));
            }
        }
    }

    fn add_phrase(&mut self, phrase: &str, sense: Option<Sense>) {
        let gap = phrase.contains('~');
        let mut stems = phrase
            .split(|c: char| c == '~' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .map(|word| self.stem(word));
        let Some(first) = stems.next() else {
            return;
        };
        let rest: Vec<String> = stems.collect();
        let phrases = self.phrases.entry(&first);
        match phrases
            .iter_mut()
            .find(|other| other.rest == rest && other.gap == gap)
        {
            Some(other) => other.senses.extend(sense),
            None => {
                // The longest that fits is the one that is meant.
                let at = phrases
                    .iter()
                    .position(|other| other.rest.len() < rest.len())
                    .unwrap_or(phrases.len());
                let senses = sense.into_iter().collect();
                phrases.insert(at, Phrase { rest, gap, senses });
            }
        }
    }

    fn read_affix(&mut self, line: &'static str) {
        let mut fields = line.split_whitespace();
        let (Some(place), Some(pair)) = (fields.next(), fields.next()) else {
            return;
        };
        let (one, other) = pair.split_once('/').unwrap_or(("", pair));
        let is_only = match fields.next() {
            Some("only") => true,
            Some("except") | None => false,
            Some(word) => unreachable!("{word} in the affixes"),
        };
        let words: Vec<String> = fields.map(str::to_string).collect();
        let (only, except) = if is_only {
            (words, Vec::new())
        } else {
            (Vec::new(), words)
        };
        let affix = Affix {
            one: one.to_string(),
            other: other.to_string(),
            only,
            except,
        };
        match place {
            "prefix" => self.prefixes.push(affix),
            _ => self.suffixes.push(affix),
        }
    }

    /// What is known of a word form.
    pub fn form(&self, word: &str) -> Form {
        self.forms.get(word).copied().unwrap_or_default()
    }

    /// What a contraction stands for, with `+` between words.
    pub fn contraction(&self, word: &str) -> Option<&'static str> {
        self.contractions.get(word).copied()
    }

    /// The stem of a word form.
    pub fn stem(&self, word: &str) -> String {
        stem(self.irregular.get(word).copied().unwrap_or(word))
    }

    /// The phrases that begin with a stem, or with what it is built from.
    pub fn phrases(&self, stem: &str) -> &[Phrase] {
        if let Some(phrases) = self.phrases.get(stem) {
            return phrases;
        }
        roots(stem)
            .find_map(|root| self.phrases.get(&root))
            .map_or(&[], Vec::as_slice)
    }

    /// One word for all that mean the same.
    pub fn meaning<'a>(&'a self, stem: &'a str) -> &'a str {
        self.meanings.get(stem).map_or(stem, String::as_str)
    }
}

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
}
