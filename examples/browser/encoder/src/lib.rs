//! The sentence encoder of mneme's Rust host as a component: see `wit/encoder.wit`.

#![cfg(target_arch = "wasm32")]

use pocket_encoder::{Encoder, ModelInfo, model_info};
use std::cell::OnceCell;

wit_bindgen::generate!({ path: "wit", world: "sentence-encoder" });

/// Texts a call of the encoder.
const MAX_BATCH: usize = 64;
/// The encoder reads no text beyond this many bytes.
const MAX_TEXT: usize = 64 * 1024;

struct Component;

export!(Component);

impl exports::mneme::encoder::encoder::Guest for Component {
    fn fingerprint() -> String {
        fingerprint(&model_info())
    }

    fn dimensions() -> u32 {
        model_info().dimensions as u32
    }

    fn embed(texts: Vec<String>) -> Result<Vec<Vec<f32>>, String> {
        thread_local!(static ENCODER: OnceCell<Encoder> = const { OnceCell::new() });
        if let Some(at) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(format!(
                "text {} of {} is blank and has no meaning to embed",
                at + 1,
                texts.len()
            ));
        }
        ENCODER.with(|cell| {
            if cell.get().is_none() {
                let _ = cell.set(Encoder::new().map_err(|error| error.to_string())?);
            }
            let encoder = cell.get().ok_or("the encoder could not be made")?;
            let mut vectors = Vec::with_capacity(texts.len());
            for batch in texts.chunks(MAX_BATCH) {
                let batch: Vec<&str> = batch
                    .iter()
                    .map(|text| &text[..text.floor_char_boundary(MAX_TEXT)])
                    .collect();
                vectors.extend(encoder.embed(&batch).map_err(|error| error.to_string())?);
            }
            Ok(vectors)
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
