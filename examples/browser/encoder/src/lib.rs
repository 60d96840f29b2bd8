//! The sentence encoder of mneme's Rust host as a component: see `wit/encoder.wit`.

#![cfg(target_arch = "wasm32")]

use std::cell::OnceCell;

use exports::mneme::encoder::encoder::{Embedding, Guest};
use pocket_encoder::{Encoder, ModelInfo, model_info};
use tokenizers::Tokenizer;

wit_bindgen::generate!({ path: "wit", world: "sentence-encoder" });

/// Texts a call of the encoder.
const MAX_BATCH: usize = 64;
/// The encoder reads no text beyond this many bytes.
const MAX_TEXT: usize = 64 * 1024;
/// What stands for a word piece that is not in the vocabulary.
const UNKNOWN: &str = "[UNK]";

/// The tokenizer of the model, see build.rs.
static TOKENIZER: &[u8] = include_bytes!(env!("TOKENIZER"));

struct Component;

export!(Component);

impl Guest for Component {
    fn fingerprint() -> String {
        fingerprint(&model_info())
    }

    fn dimensions() -> u32 {
        model_info().dimensions as u32
    }

    fn embed(texts: Vec<String>) -> Result<Vec<Embedding>, String> {
        thread_local!(static READER: OnceCell<Reader> = const { OnceCell::new() });
        if let Some(at) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(format!(
                "text {} of {} is blank and has no meaning to embed",
                at + 1,
                texts.len()
            ));
        }
        READER.with(|cell| {
            if cell.get().is_none() {
                let _ = cell.set(Reader::new()?);
            }
            let reader = cell.get().ok_or("the encoder could not be made")?;
            let texts: Vec<&str> = texts
                .iter()
                .map(|text| &text[..text.floor_char_boundary(MAX_TEXT)])
                .collect();
            let mut embeddings = Vec::with_capacity(texts.len());
            for batch in texts.chunks(MAX_BATCH) {
                let vectors = reader.encoder.embed(batch).map_err(|error| error.to_string())?;
                for (text, vector) in batch.iter().zip(vectors) {
                    embeddings.push(reader.told(text, vector)?);
                }
            }
            Ok(embeddings)
        })
    }
}

/// The encoder, and what counts the word pieces that it reads.
struct Reader {
    encoder: Encoder,
    tokenizer: Tokenizer,
    max_tokens: usize,
    unknown: u32,
}

impl Reader {
    fn new() -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(TOKENIZER).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        Ok(Self {
            unknown: tokenizer.token_to_id(UNKNOWN).ok_or("the vocabulary has no unknown token")?,
            encoder: Encoder::new().map_err(|error| error.to_string())?,
            max_tokens: model_info().max_tokens,
            tokenizer,
        })
    }

    fn told(&self, text: &str, vector: Vec<f32>) -> Result<Embedding, String> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| error.to_string())?;
        let ids = encoding.get_ids();
        let read = &ids[..ids.len().min(self.max_tokens)];
        Ok(Embedding {
            vector,
            tokens: ids.len() as u32,
            tokens_read: read.len() as u32,
            tokens_unknown: read.iter().filter(|&&id| id == self.unknown).count() as u32,
        })
    }
}

/// As `MiniLm` of the Rust host has it.
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
    let head = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
    let fnv1a = all.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!(
        "{};weights={};tokenizer={};all={fnv1a:016x}",
        info.id,
        head(info.revision.trim_start_matches("sha256:")),
        head(&info.tokenizer_sha256),
    )
}

/// What is asked for randomness in code that is not run: the same bytes every time.
///
/// # Safety
///
/// `dest` points to `len` bytes that may be written, as getrandom promises.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    dest: *mut u8,
    len: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: see above.
    unsafe { core::ptr::write_bytes(dest, 0x5a, len) };
    Ok(())
}
