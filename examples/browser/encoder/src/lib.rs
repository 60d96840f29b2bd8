//! The sentence encoder of mneme's Rust host as a component: see `wit/encoder.wit`.

#![cfg(target_arch = "wasm32")]

use std::cell::OnceCell;

use exports::mneme::encoder::encoder::{Embedding, Guest};
use mneme_encoder::{BUNDLED_DIM, BUNDLED_FINGERPRINT, Model, Options};

wit_bindgen::generate!({ path: "wit", world: "sentence-encoder" });

struct Component;

export!(Component);

impl Guest for Component {
    fn fingerprint() -> String {
        BUNDLED_FINGERPRINT.to_owned()
    }

    fn dimensions() -> u32 {
        BUNDLED_DIM as u32
    }

    fn embed(texts: Vec<String>) -> Result<Vec<Embedding>, String> {
        thread_local!(static MODEL: OnceCell<Model> = const { OnceCell::new() });
        MODEL.with(|cell| {
            if cell.get().is_none() {
                let model = Model::bundled(Options::default()).map_err(|error| error.to_string())?;
                let _ = cell.set(model);
            }
            let model = cell.get().ok_or("the encoder could not be made")?;
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let encoded = model.encode(&texts).map_err(|error| error.to_string())?;
            let embeddings = encoded.into_iter().map(|text| Embedding {
                vector: text.vector,
                tokens: text.tokens as u32,
                tokens_read: text.tokens_read as u32,
                tokens_unknown: text.tokens_unknown as u32,
            });
            Ok(embeddings.collect())
        })
    }
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
