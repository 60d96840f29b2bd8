//! [`MiniLm`]: a sentence encoder inside the program.

use std::panic::resume_unwind;
use std::thread;

use pocket_encoder::{Encoder, ModelInfo, model_info};

use super::{EmbedError, Embedder, Embedding};

mod reading;

/// The encoder reads no text beyond this many bytes; it takes 128 tokens at most.
const MAX_TEXT: usize = 64 * 1024;
/// Texts a call, by the encoder's limits of 4,096 and 4 MiB.
const MAX_BATCH: usize = 64;
/// Fewer texts are not worth a thread.
const MIN_PART: usize = 8;

/// The bundled sentence encoder: `paraphrase-MiniLM-L3-v2`, 384 dimensions, on
/// the CPU, about 5 ms for a short question. Nothing is downloaded.
///
/// Made for English. It reads the first 126 word pieces of a text, about 90
/// words, and [tells](Embedder::read) how many a text has, and how many of them it does not know:
/// those without an entry in its vocabulary, and those of letters that are not Latin. Blank text is
/// an error. Many texts at once are distributed over the
/// cores. All instances of a process share the weights, which are unpacked at the
/// first use, in some 0.1 s.
#[derive(Debug, Clone)]
pub struct MiniLm {
    fingerprint: String,
    dim: u32,
}

impl MiniLm {
    /// An encoder. Cheap: the weights are unpacked for the first text.
    pub fn new() -> Self {
        let info = model_info();
        Self {
            fingerprint: fingerprint(&info),
            dim: info.dimensions as u32,
        }
    }
}

impl Default for MiniLm {
    fn default() -> Self {
        Self::new()
    }
}

impl Embedder for MiniLm {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let texts: Vec<&str> = texts.iter().map(|text| clip(text)).collect();
        if let Some(at) = texts.iter().position(|text| text.trim().is_empty()) {
            let place = if texts.len() == 1 {
                "the text".to_owned()
            } else {
                format!("text {} of {}", at + 1, texts.len())
            };
            return Err(EmbedError::permanent(format!(
                "minilm: {place} is blank and has no meaning to embed; ask a question that has words"
            )));
        }
        let encoder = Encoder::new().map_err(failed)?;
        let threads = self.max_calls().min(texts.len() / MIN_PART).max(1);
        let vectors = if threads == 1 {
            encode(&encoder, &texts)
        } else {
            thread::scope(|scope| {
                let parts = texts.chunks(texts.len().div_ceil(threads));
                let parts: Vec<_> = parts
                    .map(|part| scope.spawn(|| encode(&encoder, part)))
                    .collect();
                let mut vectors = Vec::with_capacity(texts.len());
                for part in parts {
                    vectors.extend(part.join().unwrap_or_else(|panic| resume_unwind(panic))?);
                }
                Ok(vectors)
            })
        };
        vectors.map_err(failed)
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let vectors = self.embed(texts)?;
        let embeddings = vectors.into_iter().zip(texts);
        Ok(embeddings
            .map(|(vector, text)| Embedding {
                vector,
                reading: reading::of(text),
            })
            .collect())
    }

    /// The number of cores.
    fn max_calls(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }
}

fn encode(encoder: &Encoder, texts: &[&str]) -> Result<Vec<Vec<f32>>, pocket_encoder::Error> {
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(MAX_BATCH) {
        vectors.extend(encoder.embed(batch)?);
    }
    Ok(vectors)
}

fn failed(error: pocket_encoder::Error) -> EmbedError {
    EmbedError::permanent(format!(
        "minilm: {error}; if it persists, choose another embedder"
    ))
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// The encoder's name, the beginnings of its digests, and a digest of everything
/// that identifies it: vectors are comparable only where all of it is equal.
fn fingerprint(info: &ModelInfo) -> String {
    let all = [
        info.id.as_str(),
        &info.revision,
        &info.upstream_model,
        &info.upstream_revision,
        &info.tokenizer_sha256,
        &info.dimensions.to_string(),
        &info.max_tokens.to_string(),
        &info.pooling,
    ]
    .join("\n");
    let weights = info.revision.trim_start_matches("sha256:");
    format!(
        "{};weights={};tokenizer={};all={:016x}",
        info.id,
        head(weights),
        head(&info.tokenizer_sha256),
        fnv1a(all.as_bytes()),
    )
}

fn head(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_fingerprint_covers_every_field() {
        let base = fingerprint(&model_info());
        let edits: [fn(&mut ModelInfo); 8] = [
            |info| info.id.push('x'),
            |info| info.revision.push('x'),
            |info| info.upstream_model.push('x'),
            |info| info.upstream_revision.push('x'),
            |info| info.tokenizer_sha256.push('x'),
            |info| info.dimensions += 1,
            |info| info.max_tokens += 1,
            |info| info.pooling.push('x'),
        ];
        for (field, edit) in edits.iter().enumerate() {
            let mut info = model_info();
            edit(&mut info);
            assert_ne!(fingerprint(&info), base, "field {field}");
        }
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
        let long = "é".repeat(60_000);
        assert_eq!(clip(&format!("a{long}")).len(), MAX_TEXT - 1);
        let vectors = MiniLm::new().embed(&[&format!("question {long}")]).unwrap();
        assert_eq!(vectors[0].len(), 384);
    }
}
