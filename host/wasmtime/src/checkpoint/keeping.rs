//! Readers that begin again, as long as little was read.

use std::io::Read;

/// The most that is kept of an archive until it is known whether it fits, and whether it can be
/// written. Its layout is told by its first member, of a few hundred bytes.
const MAX_KEPT: usize = 16 << 20;

/// A reader that keeps what was read, as long as that is little.
pub(super) struct Keeping<R> {
    reader: R,
    /// None once it was too much.
    kept: Option<Vec<u8>>,
    /// How much of that was read since the last beginning.
    at: usize,
}

impl<R: Read> Keeping<R> {
    pub fn new(reader: R) -> Self {
        Keeping {
            reader,
            kept: Some(Vec::new()),
            at: 0,
        }
    }

    /// The same at its beginning, if that is possible.
    pub fn restarted(self) -> Option<Self> {
        self.kept.is_some().then_some(Keeping { at: 0, ..self })
    }
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let again = self.kept.as_deref().and_then(|kept| kept.get(self.at..));
        if let Some(mut again) = again.filter(|again| !again.is_empty()) {
            let length = again.read(bytes)?;
            self.at += length;
            return Ok(length);
        }
        let length = self.reader.read(bytes)?;
        if let (Some(kept), Some(read)) = (&mut self.kept, bytes.get(..length)) {
            match kept.len() + length <= MAX_KEPT {
                true => {
                    kept.extend_from_slice(read);
                    self.at = kept.len();
                }
                false => self.kept = None,
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_read_again_unless_it_was_much() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut reader = Keeping::new(&bytes[..]);
        let (mut some, mut all) = ([0; 30], Vec::new());
        for _ in 0..3 {
            reader.read_exact(&mut some).unwrap();
            assert_eq!(some, bytes[..30]);
            reader = reader.restarted().unwrap();
        }
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
        all.clear();
        reader.restarted().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);

        let mut long = Keeping::new(std::io::repeat(1).take(MAX_KEPT as u64 + 1));
        std::io::copy(&mut long, &mut std::io::sink()).unwrap();
        assert!(long.restarted().is_none());
    }
}
