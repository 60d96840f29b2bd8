//! A text that was read: what the rules compare.

use super::Span;
use super::bytes::part;
use super::class;
use super::dates::{self, Dates};
use super::fold::{Folded, is_invisible};
use super::language::{Asked, ENGLISH, Form, Language, Phrase, Sense, hash};
use super::matching::{sorted, unmatched};
use super::numbers::{self, Number};
use super::tokens::{Kind, Tokens, tokens};

/// The most characters of a piece of evidence.
const EVIDENCE_CHARS: usize = 64;

/// The most words between a word and its particle, as in `turn the kitchen light off`.
const GAP: usize = 5;

/// Where a text takes a pole of an axis.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The pole.
    pub sense: Sense,
    /// Its first token.
    pub first: usize,
    /// Its last token.
    pub last: usize,
    /// A negation is before it.
    pub negated: bool,
}

impl Hit {
    /// The order of hits.
    pub fn key(&self) -> (Sense, bool) {
        (self.sense, self.negated)
    }
}

/// What a token counts as when texts are compared word by word.
#[derive(Clone, Copy)]
struct Key {
    word: u64,
    token: usize,
}

/// A text that was read.
pub struct Text<'a> {
    original: &'a str,
    folded: Folded,
    /// The language; none if the text is in another one, and is left alone.
    pub language: Option<&'static Language>,
    /// All tokens.
    pub tokens: Tokens,
    /// Poles of axes, sorted by axis.
    pub hits: Vec<Hit>,
    /// Numbers, in their order.
    pub numbers: Vec<Number>,
    /// Dates and times.
    pub dates: Dates,
    /// Places of tokens that are codes, in their order.
    pub codes: Vec<usize>,
    keys: Vec<Key>,
    /// The places of keys, in order.
    order: Vec<usize>,
    /// Tokens that are no words any more: parts of numbers, dates, codes.
    used: Vec<bool>,
}

impl<'a> Text<'a> {
    /// Reads a text.
    pub fn new(original: &'a str) -> Self {
        let folded = Folded::new(original);
        let language: &'static Language = &ENGLISH;
        let is_latin = folded.is_latin;
        let tokens = tokens(if is_latin { &folded.text } else { "" }, language);
        let count = |class| (0..tokens.len()).filter(|at| tokens.is(*at, class)).count();
        let is_known = is_latin && count(class::FOREIGN) <= count(class::FUNCTION);
        let mut text = Self {
            original,
            folded,
            language: is_known.then_some(language),
            hits: Vec::new(),
            numbers: Vec::new(),
            dates: Dates::default(),
            codes: Vec::new(),
            keys: Vec::new(),
            order: Vec::new(),
            used: vec![false; tokens.len()],
            tokens,
        };
        if is_known {
            text.find_codes(language);
            text.dates = dates::find(&text.tokens, &mut text.used);
            text.numbers = numbers::find(language, &text.tokens, &mut text.used);
            text.find_senses(language);
            let (keys, hits) = (&text.keys, &text.hits);
            text.order = sorted(keys.len(), &|a, b| keys[a].word.cmp(&keys[b].word));
            let order = sorted(hits.len(), &|a, b| hits[a].key().cmp(&hits[b].key()));
            text.hits = order.into_iter().map(|at| hits[at]).collect();
        }
        text
    }

    /// The middle of the text was not read.
    pub fn is_cut(&self) -> bool {
        self.folded.is_cut
    }

    fn find_codes(&mut self, language: &Language) {
        for at in 0..self.tokens.len() {
            let token = self.tokens.at(at);
            let before = self.tokens.before(at);
            let is_unit = token.form.unit.is_some() && matches!(before.kind, Kind::Number { .. });
            let is_letter = token.is_word()
                && !is_unit
                && token.word.len() == 1
                && token.word.is_ascii()
                && (!token.is(class::FUNCTION) || token.is(class::ARTICLE) && self.is_last(at));
            if token.kind != Kind::Code && !is_letter && !numbers::is_code(language, token) {
                continue;
            }
            self.codes.push(at);
            self.used[at] = true;
            let token = &mut self.tokens.0[at];
            if let Kind::Number { suffix, .. } = &token.kind {
                token.word += suffix;
                token.kind = Kind::Code;
            }
            token.form = Form::UNKNOWN;
            // `4lokos` are more than one `4loko`.
            let one = token.word.strip_suffix('s').filter(|one| one.len() > 3);
            token.stem = hash(one.unwrap_or(&token.word));
        }
    }

    /// Nothing that belongs to an article follows: `hepatitis a`, `replace a with b`.
    fn is_last(&self, at: usize) -> bool {
        let mut closing = class::GOAL | class::SOURCE | class::MARKER | class::JOINER;
        if self.tokens.before(at).is(class::CARRIER) {
            closing |= class::FUNCTION;
        }
        self.tokens.at(at).closes()
            || self.tokens.is(at + 1, closing)
            || at + 1 == self.tokens.len()
    }

    fn find_senses(&mut self, language: &'static Language) {
        let mut inside = vec![false; self.tokens.len()];
        for at in 0..self.tokens.len() {
            let token = self.tokens.at(at);
            // `one` and `first` are numbers that may be more.
            let is_used = self.used[at];
            if inside[at] || is_used && !token.is(class::WEAK_NUMBER) || !token.is_word() {
                continue;
            }
            // `many` in `how many`
            let is_how_much =
                token.is(class::AMOUNT) && self.tokens.before(at).form.asks == Some(Asked::Way);
            let is_content = token.is_content() && !is_used && !is_how_much;
            let mut word = language.meaning(token.stem);
            let mut counts = is_content;
            if let Some((phrase, last)) = self.phrase(language, at) {
                if phrase.gap {
                    inside[last] = true;
                    counts = !is_used;
                } else {
                    inside[at..=last].fill(true);
                }
                let negated = self.is_negated(at, last);
                for sense in &phrase.senses {
                    self.hits.push(Hit {
                        sense: *sense,
                        first: at,
                        last,
                        negated,
                    });
                }
                if let Some(sense) = phrase.senses.first() {
                    // No hash of a word is that small.
                    word = u64::from(sense.axis) << 8 | u64::from(sense.pole);
                } else {
                    for at in at + 1..=last {
                        word = word.rotate_left(1) ^ self.tokens.at(at).stem;
                    }
                }
            }
            if counts {
                self.keys.push(Key { word, token: at });
            }
        }
    }

    /// The phrase that begins at a token, and its last token: the longest, or that with the nearest
    /// particle.
    fn phrase(&self, language: &'static Language, at: usize) -> Option<(&'static Phrase, usize)> {
        let token = self.tokens.at(at);
        let mut found: Option<(&Phrase, usize)> = None;
        for phrase in language.phrases(token.stem, &token.word) {
            if let Some(last) = self.fit(at, phrase) {
                let is_better = found.is_none_or(|(other, other_last)| {
                    phrase.rest.len() == other.rest.len() && last < other_last
                });
                if is_better {
                    found = Some((phrase, last));
                }
            }
        }
        found
    }

    /// The last token of a phrase that begins at a token.
    fn fit(&self, at: usize, phrase: &Phrase) -> Option<usize> {
        let mut here = at;
        for stem in &phrase.rest {
            here += 1;
            while phrase.gap && self.tokens.at(here).stem != *stem && here - at < GAP {
                if self.tokens.at(here).ends {
                    return None;
                }
                here += 1;
            }
            if self.tokens.at(here).stem != *stem {
                return None;
            }
        }
        Some(here)
    }

    /// A negation is at most three words before, in the same sentence, or right behind as in `with no`.
    pub fn is_negated(&self, at: usize, last: usize) -> bool {
        if self.tokens.is(at, class::MARKER) && self.tokens.is(last + 1, class::NEGATION) {
            return true;
        }
        let mut here = at;
        while here > 0 && at - here < 3 && !self.tokens.at(here - 1).closes() {
            here -= 1;
            if self.tokens.is(here, class::NEGATION) {
                return true;
            }
        }
        false
    }

    /// The tokens as they stand in the original, without invisible characters, and not too long.
    pub fn evidence(&self, span: Span) -> String {
        let at = self.tokens.at(span.0).at.start..self.tokens.at(span.1).at.end;
        let mut evidence = String::new();
        for c in part(self.original, self.folded.origin(at))
            .chars()
            .take(EVIDENCE_CHARS)
        {
            if !is_invisible(c) {
                evidence.push(if c < ' ' { ' ' } else { c });
            }
        }
        evidence
    }

    /// The token begins with a capital, and does not begin a sentence.
    pub fn is_capital(&self, at: usize) -> bool {
        let origin = self.folded.origin(self.tokens.at(at).at.clone());
        let first = self.original.as_bytes()[origin.start];
        !self.tokens.before(at).ends && first.is_ascii_uppercase()
    }

    /// How many words say what is asked.
    pub fn content(&self) -> usize {
        self.keys.len()
    }
}

/// Words that only one of two texts has.
pub struct Left {
    /// Tokens of the query, in their order.
    pub query: Vec<usize>,
    /// Tokens of the entry, in their order.
    pub entry: Vec<usize>,
}

impl Left {
    /// How many words differ.
    pub fn len(&self) -> usize {
        self.query.len() + self.entry.len()
    }

    /// Compares the words of two texts.
    pub fn new(query: &Text, entry: &Text) -> Self {
        let (a, b) = unmatched(&query.order, &entry.order, &|a, b| {
            query.keys[a].word.cmp(&entry.keys[b].word)
        });
        let tokens = |text: &Text, keys: Vec<usize>| -> Vec<usize> {
            keys.into_iter().map(|key| text.keys[key].token).collect()
        };
        Self {
            query: tokens(query, a),
            entry: tokens(entry, b),
        }
    }
}
