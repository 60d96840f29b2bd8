//! How much of a text the encoder reads.

use std::sync::OnceLock;

use tokenizers::Tokenizer;

use crate::embedder::Reading;

/// The encoder's own, which it keeps to itself.
pub(super) const TOKENIZER: &[u8] = include_bytes!("tokenizer.json");

/// Tokens that the encoder reads, without the two that it adds.
const MOST: usize = 126;

/// What the vocabulary has for a word that it lacks.
const UNKNOWN: &str = "[UNK]";

/// How much of a text the encoder reads, and knows: none if it cannot be told.
pub(super) fn of(text: &str) -> Option<Reading> {
    let encoding = tokenizer()?.encode_fast(text, false).ok()?;
    let tokens = encoding.get_tokens();
    let read = tokens.len().min(MOST);
    let unknown =
        encoding
            .get_offsets()
            .iter()
            .zip(tokens)
            .take(read)
            .filter(|((from, to), token)| {
                *token == UNKNOWN
                    || text
                        .get(*from..*to)
                        .is_some_and(|part| part.chars().any(is_foreign))
            });
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Reading {
        tokens: count(tokens.len()),
        tokens_read: count(read),
        tokens_unknown: count(unknown.count()),
    })
}

fn tokenizer() -> Option<&'static Tokenizer> {
    static SHARED: OnceLock<Option<Tokenizer>> = OnceLock::new();
    let made = SHARED.get_or_init(|| {
        let mut tokenizer = Tokenizer::from_bytes(TOKENIZER).ok()?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).ok()?;
        Some(tokenizer)
    });
    made.as_ref()
}

/// Whether it is a letter of another script than Latin. The vocabulary has single letters of many
/// scripts, and the model knows no words of them.
fn is_foreign(character: char) -> bool {
    let is_latin = matches!(
        character,
        'a'..='z' | 'A'..='Z' | 'ª' | 'º' | '\u{C0}'..='\u{2AF}' | '\u{1E00}'..='\u{1EFF}'
            | '\u{2C60}'..='\u{2C7F}' | '\u{A720}'..='\u{A7FF}' | '\u{FB00}'..='\u{FB06}'
            | '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}'
    );
    character.is_alphabetic() && !is_latin
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocket_encoder::model_info;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_tokenizer_is_the_encoders() {
        let info = model_info();
        let digest: String = Sha256::digest(TOKENIZER)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(info.tokenizer_sha256.trim_start_matches("sha256:"), digest);
        assert_eq!(info.max_tokens, MOST + 2);
    }

    #[test]
    fn english_is_read_and_long_texts_are_cut() {
        let reading = of("how do i reset my password?").unwrap();
        assert_eq!(
            (reading.tokens, reading.tokens_read, reading.tokens_unknown),
            (7, 7, 0)
        );
        let just = "word ".repeat(126);
        assert_eq!(of(&just).unwrap().tokens_read, of(&just).unwrap().tokens);
        let cut = of(&"word ".repeat(127)).unwrap();
        assert_eq!((cut.tokens, cut.tokens_read), (127, 126));
        for latin in [
            "où est la crème brûlée ?",
            "straße nach köln",
            "çok güzel, teşekkürler",
        ] {
            assert_eq!(of(latin).unwrap().tokens_unknown, 0, "{latin}");
        }
    }

    #[test]
    fn scripts_that_it_does_not_know_are_unknown() {
        let texts = [
            "如何重置我的密码？",
            "как сбросить пароль?",
            "كيف أعيد تعيين كلمة المرور؟",
            "パスワードをリセットするには？",
            "मैं अपना पासवर्ड कैसे बदलूं?",
            "πώς αλλάζω τον κωδικό μου;",
            "비밀번호를 어떻게 재설정하나요?",
            "🔑❓",
            "😀",
        ];
        for text in texts {
            let reading = of(text).unwrap();
            assert!(
                reading.tokens_unknown * 4 > reading.tokens_read,
                "{text}: {reading:?}"
            );
        }
        // One foreign letter among many words is no reason to give up.
        let mixed = of("what does the letter α mean in statistics and physics?").unwrap();
        assert!(mixed.tokens_unknown > 0 && mixed.tokens_unknown * 4 < mixed.tokens_read);
    }
}
