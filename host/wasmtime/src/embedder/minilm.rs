//! [`MiniLm`]: a sentence encoder that is part of the program.

use std::sync::{Arc, OnceLock};
use std::thread;

use mneme_encoder as encoder;

use super::model::{failed, read, vectors};
use super::{EmbedError, Embedder, Embedding};

/// Some 4,000 tokens: they take about a second.
const MAX_CALL_BYTES: usize = 16 * 1024;

/// The bundled sentence encoder: `paraphrase-MiniLM-L3-v2`, 384 dimensions, on
/// the CPU, about a millisecond for a short question. Nothing is downloaded.
///
/// Made for English. It reads the first 126 word pieces of a text, about 90
/// words, and [tells](Embedder::read) how many a text has, and how many of them it does not know:
/// those without an entry in its vocabulary, and those of letters that are not Latin. Blank text is
/// an error. All instances of a process share the weights, which are unpacked for the first text.
#[derive(Debug, Clone, Default)]
pub struct MiniLm {
    options: encoder::Options,
    model: Arc<OnceLock<Result<encoder::Model, encoder::Error>>>,
}

impl MiniLm {
    /// An encoder. Cheap: the weights are unpacked for the first text.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that computes on so many threads, 1 to 256. By default there is one a core. It has
    /// its own copy of the weights.
    pub fn with_threads(threads: usize) -> Self {
        let mut encoder = Self::default();
        encoder.options.threads = Some(threads);
        encoder
    }

    /// The encoder for programs that embed a few texts and end. It unpacks its weights in about half of
    /// the time, and shares them only with others of this kind; each text takes up to twice as long.
    /// Vectors are the same.
    #[must_use]
    pub fn few_texts(self) -> Self {
        let mut options = self.options;
        options.few_texts = true;
        Self {
            options,
            model: Arc::default(),
        }
    }

    /// Begins to unpack the weights on a thread, beside whatever comes before the first text, such as
    /// opening a cache. It returns at once. A text that comes before they are unpacked waits for them.
    pub fn load_ahead(&self) {
        let ahead = self.clone();
        let load = move || {
            // If it fails, every text tells.
            let _ = ahead.model();
        };
        // Where there are no threads, the first text does it.
        let _ = thread::Builder::new()
            .name("mneme-minilm".to_owned())
            .spawn(load);
    }

    fn model(&self) -> Result<&encoder::Model, EmbedError> {
        let open = || encoder::Model::bundled(self.options.clone());
        let model = self.model.get_or_init(open).as_ref();
        model.map_err(|error| failed(error.clone()))
    }
}

impl Embedder for MiniLm {
    fn fingerprint(&self) -> &str {
        encoder::BUNDLED_FINGERPRINT
    }

    fn dim(&self) -> u32 {
        encoder::BUNDLED_DIM as u32
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(vectors(self.read(texts)?))
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        read(self.model()?, texts)
    }

    fn max_calls(&self) -> usize {
        encoder::threads(self.options.threads).unwrap_or(1)
    }

    fn max_call_bytes(&self) -> usize {
        MAX_CALL_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::Reading;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    /// Data on disk depends on it: it may change only with the encoder.
    #[test]
    fn the_fingerprint_is_pinned() {
        assert_eq!(
            MiniLm::new().fingerprint(),
            "pocket-encoder/minilm-l3-q4-g32-v1;weights=dabb40d5d98a;tokenizer=a9576e4dadfe;all=805daf7f47338859"
        );
        assert_eq!(MiniLm::new().dim(), 384);
    }

    #[test]
    fn vectors_are_stable_and_of_unit_length() {
        let encoder = MiniLm::new();
        let texts = ["how do i reset my password?", "where is my parcel?"];
        let together = encoder.embed(&texts).unwrap();
        for (text, vector) in texts.iter().zip(&together) {
            assert_eq!(vector.len(), 384);
            assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
            assert_eq!(&encoder.embed(&[text]).unwrap()[0], vector);
        }
        assert_eq!(encoder.embed(&[]), Ok(Vec::new()));
    }

    #[test]
    fn a_paraphrase_is_closer_than_another_question() {
        let vectors = MiniLm::new()
            .embed(&[
                "how do i reset my password?",
                "i forgot my password, how can i reset it?",
                "what time does the pool open on sunday?",
            ])
            .unwrap();
        let (near, far) = (
            cosine(&vectors[0], &vectors[1]),
            cosine(&vectors[0], &vectors[2]),
        );
        assert!(near > 0.7 && far < 0.3, "paraphrase {near}, other {far}");
    }

    #[test]
    fn many_texts_keep_their_order() {
        let texts: Vec<String> = (0..41).map(|n| format!("question number {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoder = MiniLm::new();
        let together = encoder.embed(&texts).unwrap();
        assert_eq!(together.len(), texts.len());
        for at in [0, 20, 40] {
            assert_eq!(encoder.embed(&texts[at..=at]).unwrap()[0], together[at]);
        }
    }

    #[test]
    fn blank_text_is_refused_by_place() {
        let error = MiniLm::new().embed(&["a question", " "]).unwrap_err();
        assert!(error.message.contains("text 2 of 2 is blank"), "{error}");
        assert!(!error.retryable);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = format!("question {}", "é".repeat(60_000));
        let embedding = &MiniLm::new().read(&[&long]).unwrap()[0];
        assert_eq!(embedding.vector.len(), 384);
        let reading = embedding.reading.unwrap();
        assert!(reading.tokens > reading.tokens_read, "{reading:?}");
    }

    fn reading(text: &str) -> Reading {
        MiniLm::new().read(&[text]).unwrap()[0].reading.unwrap()
    }

    #[test]
    fn english_is_read_and_long_texts_are_cut() {
        let short = reading("how do i reset my password?");
        assert_eq!(
            (short.tokens, short.tokens_read, short.tokens_unknown),
            (7, 7, 0)
        );
        let just = reading(&"word ".repeat(126));
        assert_eq!((just.tokens, just.tokens_read), (126, 126));
        let cut = reading(&"word ".repeat(127));
        assert_eq!((cut.tokens, cut.tokens_read), (127, 126));
        let far = reading(&"word ".repeat(1_000));
        assert_eq!((far.tokens, far.tokens_read), (1_000, 126));
        for latin in [
            "où est la crème brûlée ?",
            "straße nach köln",
            "çok güzel, teşekkürler",
        ] {
            assert_eq!(reading(latin).tokens_unknown, 0, "{latin}");
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
            let reading = reading(text);
            assert!(
                reading.tokens_unknown * 4 > reading.tokens_read,
                "{text}: {reading:?}"
            );
        }
        // One foreign letter among many words is no reason to give up.
        let mixed = reading("what does the letter α mean in statistics and physics?");
        assert!(mixed.tokens_unknown > 0 && mixed.tokens_unknown * 4 < mixed.tokens_read);
    }
}
