//! A table of words that is only read once it is built.

/// A hash table with a fixed hash, so that it is the same in every instance.
pub struct Table<V> {
    slots: Vec<Option<(String, V)>>,
    words: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            words: 0,
        }
    }
}

impl<V: Default> Table<V> {
    /// The value of a word, a new one if it has none.
    pub fn entry(&mut self, word: &str) -> &mut V {
        if 2 * self.words >= self.slots.len() {
            self.grow();
        }
        let at = self.slot(word);
        if self.slots[at].is_none() {
            self.words += 1;
        }
        &mut self.slots[at]
            .get_or_insert_with(|| (word.to_string(), V::default()))
            .1
    }
}

impl<V> Table<V> {
    /// The value of a word.
    pub fn get(&self, word: &str) -> Option<&V> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.slot(word)].as_ref().map(|slot| &slot.1)
    }

    /// Where a word is, or the empty slot that it would take. At least half of the slots are empty.
    fn slot(&self, word: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash(word) as usize & mask;
        while let Some((other, _)) = &self.slots[at] {
            if other == word {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let len = (2 * self.slots.len()).max(64);
        let old = std::mem::replace(&mut self.slots, (0..len).map(|_| None).collect());
        for (word, value) in old.into_iter().flatten() {
            let at = self.slot(&word);
            self.slots[at] = Some((word, value));
        }
    }
}

/// FNV-1a.
pub fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found() {
        let mut table = Table::default();
        assert!(table.get("0").is_none());
        for n in 0..1000_u32 {
            *table.entry(&n.to_string()) = n;
        }
        for n in 0..1000 {
            assert_eq!(table.get(&n.to_string()), Some(&n));
        }
        assert!(table.get("1000").is_none() && table.get("").is_none());
        *table.entry("7") += 1;
        assert_eq!(table.get("7"), Some(&8));
    }
}
