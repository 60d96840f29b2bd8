//! From texts to tokens.

use std::path::Path;

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, Encoding, ModelWrapper, NormalizerWrapper, PostProcessor, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerImpl, TruncationParams,
};

use crate::error::{Error, guarded};
use crate::scripts::Scripts;

/// No text is read beyond this many bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The tokens of a text.
pub(crate) struct Tokens {
    /// What the model gets, at least one.
    pub ids: Vec<i32>,
    /// How many the text has, without those that are added to every text. Estimated where it is cut.
    pub all: usize,
    /// How many of them the model gets.
    pub read: usize,
    /// How many of those it does not know.
    pub unknown: usize,
}

/// A tokenizer, and what its model can read.
#[derive(Clone)]
pub(crate) struct Tokenization {
    tokenizer: Tokenizer,
    /// What stands for a part of a text that is not in the vocabulary.
    unknown: Option<u32>,
    known: Vocabulary,
    lowercase: bool,
    prompt: String,
    max_tokens: usize,
}

/// How a tokenizer is used.
pub(crate) struct Use {
    /// Tokens a text, with those that are added.
    pub max_tokens: usize,
    /// Texts are made lower case first.
    pub lowercase: bool,
    /// What is written before each text.
    pub prompt: String,
    /// What is known of the vocabulary, so that it need not be looked through.
    pub known: Option<Vocabulary>,
}

/// What a vocabulary tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vocabulary {
    pub scripts: Scripts,
    pub last: u32,
}

impl Vocabulary {
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let tokens = tokenizer.get_vocab(true);
        let scripts = match tokenizer.get_model() {
            // Its tokens are bytes.
            ModelWrapper::BPE(_) => Scripts::all(),
            _ => Scripts::of(tokens.keys().map(String::as_str)),
        };
        Self {
            scripts,
            last: tokens.into_values().max().unwrap_or(0),
        }
    }
}

/// The tokenizer that most sentence models have.
type WordPieces = TokenizerImpl<
    WordPiece,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Reads a tokenizer. Where the kind is known before, the vocabulary is not copied again and again.
fn tokenizer(bytes: &[u8]) -> tokenizers::Result<Tokenizer> {
    match serde_json::from_slice::<WordPieces>(bytes) {
        Ok(tokenizer) => Ok(tokenizer.into()),
        Err(_) => Tokenizer::from_bytes(bytes),
    }
}

impl Tokenization {
    /// Reads a `tokenizer.json`.
    pub fn parse(path: &Path, bytes: &[u8], wishes: Use) -> Result<Self, Error> {
        let refuse = |error: &dyn std::fmt::Display| {
            Error::invalid(
                path,
                format!("is no tokenizer: {error}; get it again with the model"),
            )
        };
        let tokenizer = guarded(|| tokenizer(bytes))
            .map_err(|panic| refuse(&panic))?
            .map_err(|error| refuse(&error))?;
        Self::new(path, tokenizer, wishes)
    }

    fn new(path: &Path, mut tokenizer: Tokenizer, wishes: Use) -> Result<Self, Error> {
        let added = tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false));
        if wishes.max_tokens <= added {
            return Err(Error::invalid(
                path,
                format!(
                    "adds {added} tokens to each text, and the model reads {}; get the files of one model",
                    wishes.max_tokens
                ),
            ));
        }
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: wishes.max_tokens,
                ..TruncationParams::default()
            }))
            .map_err(|error| Error::invalid(path, format!("cannot cut texts: {error}")))?;
        let unknown = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            ModelWrapper::Unigram(_) => Some("<unk>".to_owned()),
            ModelWrapper::BPE(model) => model.unk_token.clone(),
        };
        let known = match wishes.known {
            Some(known) => known,
            None => Vocabulary::of(&tokenizer),
        };
        Ok(Self {
            unknown: unknown.and_then(|token| tokenizer.token_to_id(&token)),
            known,
            tokenizer,
            lowercase: wishes.lowercase,
            prompt: wishes.prompt,
            max_tokens: wishes.max_tokens,
        })
    }

    /// The most tokens of a text that the model gets, with those that are added.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The greatest token that a text can have.
    pub fn last_token(&self) -> u32 {
        self.known.last
    }

    /// The tokens of a text, of at most 64 KiB; the rest is cut.
    pub fn tokens(&self, text: &str) -> Result<Tokens, Error> {
        let clipped = &text[..text.floor_char_boundary(MAX_TEXT)];
        let mut input = format!("{}{clipped}", self.prompt);
        if self.lowercase {
            input = input.to_lowercase();
        }
        let failed =
            |error: &dyn std::fmt::Display| Error::Engine(format!("its tokenizer: {error}"));
        let encoding = guarded(|| self.tokenizer.encode(input.as_str(), true))
            .map_err(|panic| failed(&panic))?
            .map_err(|error| failed(&error))?;
        if encoding.is_empty() {
            return Err(failed(&"it finds no token in a text"));
        }
        let prompt = self.prompt.len();
        let own = |encoding: &Encoding| {
            let special = encoding.get_special_tokens_mask();
            let offsets = encoding.get_offsets().iter();
            let own = special.iter().zip(offsets);
            own.map(|(special, (_, to))| *special == 0 && *to > prompt)
                .collect::<Vec<bool>>()
        };
        let count = |own: &[bool]| own.iter().filter(|is_own| **is_own).count();
        let kept = own(&encoding);
        let read = count(&kept);
        let rest = encoding.get_overflowing().iter();
        let rest: usize = rest.map(|part| count(&own(part))).sum();
        let whole = read + rest;
        // What was cut before has as many for its length as what was not.
        let cut = (text.len() - clipped.len()) as u64;
        let cut = (whole as u64)
            .saturating_mul(cut)
            .div_ceil(clipped.len().max(1) as u64);
        let unknown =
            (0..kept.len()).filter(|&at| kept[at] && self.is_unknown(&input, &encoding, at));
        Ok(Tokens {
            ids: encoding.get_ids().iter().map(|&id| id as i32).collect(),
            all: whole.saturating_add(cut as usize),
            read,
            unknown: unknown.count(),
        })
    }

    fn is_unknown(&self, input: &str, encoding: &Encoding, at: usize) -> bool {
        let (from, to) = encoding.get_offsets()[at];
        self.unknown == Some(encoding.get_ids()[at])
            || input
                .get(from..to)
                .is_some_and(|part| self.known.scripts.are_strange_to(part))
    }
}

#[cfg(all(test, feature = "bundled"))]
mod tests {
    use super::*;

    /// Both ways to read a tokenizer give the same.
    #[test]
    fn word_pieces_are_read_directly() {
        let bytes = crate::bundled::TOKENIZER;
        let direct: Tokenizer = serde_json::from_slice::<WordPieces>(bytes).unwrap().into();
        let general = Tokenizer::from_bytes(bytes).unwrap();
        assert_eq!(
            serde_json::to_value(&direct).unwrap(),
            serde_json::to_value(&general).unwrap()
        );
        let text = "Wie geht's? How do I re-set my p\u{e4}ssword [MASK] \u{65e5}\u{672c} \u{1f642}";
        let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        assert_eq!(ids(&direct), ids(&general));
    }
}
