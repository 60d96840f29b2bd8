//! Embedders whose vectors a test can foresee, delay or spoil.

use mneme::Embedder;
use mneme::embedder::EmbedError;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// The fingerprint of all of them, and of the Python embedder in `peer.py`.
pub const FINGERPRINT: &str = "test-words-1";
/// Their number of dimensions.
pub const DIM: u32 = 16;

/// Adds up a vector for each word: texts that share words are similar, and the order of
/// words does not matter.
pub fn words(text: &str) -> Vec<f32> {
    let mut sum = vec![0.0; DIM as usize];
    for word in text.split(' ') {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in word.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        for value in &mut sum {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *value += ((state >> 40) as f32) / ((1 << 23) as f32) - 1.0;
        }
    }
    sum
}

/// The unit vector along one axis, counted round and round.
pub fn axis(n: usize) -> Vec<f32> {
    let mut vector = vec![0.0; DIM as usize];
    vector[n % DIM as usize] = 1.0;
    vector
}

/// Embeds by [`words`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Words;

impl Embedder for Words {
    fn fingerprint(&self) -> &str {
        FINGERPRINT
    }

    fn dim(&self) -> u32 {
        DIM
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|text| words(text)).collect())
    }
}

/// Embeds by a function.
pub struct By<F>(pub F);

impl<F> Embedder for By<F>
where
    F: Fn(&[&str]) -> Result<Vec<Vec<f32>>, EmbedError> + Send + Sync,
{
    fn fingerprint(&self) -> &str {
        FINGERPRINT
    }

    fn dim(&self) -> u32 {
        DIM
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        (self.0)(texts)
    }
}

/// Embeds by [`words`], and holds up every text that contains `slow` until it is let go.
pub struct Gated {
    arrived: Mutex<Sender<String>>,
    gate: Mutex<Receiver<()>>,
}

/// The other side of a [`Gated`].
pub struct Gate {
    /// The texts that stand at the gate, as they arrive.
    pub arrivals: Receiver<String>,
    /// Each unit lets one text go.
    pub open: Sender<()>,
}

impl Gated {
    /// An embedder, and its gate.
    pub fn new() -> (Gated, Gate) {
        let ((arrived, arrivals), (open, gate)) = (channel(), channel());
        let gated = Gated {
            arrived: Mutex::new(arrived),
            gate: Mutex::new(gate),
        };
        (gated, Gate { arrivals, open })
    }
}

impl Embedder for Gated {
    fn fingerprint(&self) -> &str {
        FINGERPRINT
    }

    fn dim(&self) -> u32 {
        DIM
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        for text in texts.iter().filter(|text| text.contains("slow")) {
            let gone = |_| EmbedError::permanent("the gate is gone");
            let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived
                .send((*text).to_owned())
                .map_err(|error| gone(error.to_string()))?;
            drop(arrived);
            let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.recv().map_err(|error| gone(error.to_string()))?;
        }
        Ok(texts.iter().map(|text| words(text)).collect())
    }
}
