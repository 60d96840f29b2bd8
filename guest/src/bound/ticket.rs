//! Tickets: what a look-up gives out, so that its candidate can be labelled later, by whoever has the
//! right response, in any process on the same store.
//!
//! A ticket holds the score, the kind of veto if one refused the candidate, when it was issued, a name of
//! query and entry, and a tag that only the holder of the key can make. All of it is hexadecimal.

use super::used;
use crate::error::{Result, invalid};
use crate::judge::Kinds;
use crate::types::VetoKind;
use sha2::{Digest, Sha256};

/// The version of the layout.
const VERSION: u8 = 1;
/// Stands for no veto.
const NO_VETO: u8 = 0xff;
/// Bytes of a subject and of a tag.
const SHORT: usize = 16;
/// Version, veto, score, time, subject, tag.
const BYTES: usize = 1 + 1 + 4 + 8 + SHORT + SHORT;
/// A ticket is taken for so many seconds.
const LASTS_SECONDS: u64 = 86_400;

/// The meta key of what the key of a store's tickets is made of.
pub const META_KEY: &str = "ticket_key";

/// Whether a meta value is about the tickets of one store, and goes into no portable archive.
pub fn is_of_tickets(meta_key: &str) -> bool {
    [META_KEY, used::META_KEY].contains(&meta_key)
}

/// The key of a store's tickets.
pub type Key = [u8; 32];

/// Names a query and a version of an entry.
pub type Subject = [u8; SHORT];

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticket {
    /// The candidate's score.
    pub score: f32,
    /// The one kind of veto that refused it.
    pub veto: Option<VetoKind>,
    /// When it was issued, in seconds since the Unix epoch.
    pub issued: u64,
    /// Who was asked for, and who answered or would have.
    pub subject: Subject,
}

impl Ticket {
    /// The name of a query and a version of an entry.
    pub fn subject(namespace: &str, query_hash: &str, id: u64, created_at: u64) -> Subject {
        let mut hash = Sha256::new();
        hash.update((namespace.len() as u64).to_le_bytes());
        hash.update(namespace);
        hash.update(query_hash);
        hash.update(id.to_le_bytes());
        hash.update(created_at.to_le_bytes());
        short(&hash.finalize())
    }

    /// The text of a ticket.
    pub fn to_text(self, namespace: &str, key: &Key) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.push(self.veto.map_or(NO_VETO, |kind| kind as u8));
        bytes.extend_from_slice(&self.score.to_bits().to_le_bytes());
        bytes.extend_from_slice(&self.issued.to_le_bytes());
        bytes.extend_from_slice(&self.subject);
        let tag = tag(&bytes, namespace, key);
        bytes.extend_from_slice(&tag);
        crate::query::hex(&bytes)
    }

    /// Reads a ticket that is taken now.
    pub fn from_text(text: &str, namespace: &str, key: &Key, now: u64) -> Result<Self> {
        let unknown = || {
            invalid(format!(
                "the ticket was not issued for a look-up in the namespace {namespace:?} of this store; give it as the look-up gave it"
            ))
        };
        let bytes = bytes_of(text).ok_or_else(unknown)?;
        let (said, their_tag) = bytes.split_at(BYTES - SHORT);
        if said[0] != VERSION || tag(said, namespace, key) != *their_tag {
            return Err(unknown());
        }
        let mut rest = &said[1..];
        let mut take = |length: usize| {
            let (front, back) = rest.split_at(length);
            rest = back;
            front
        };
        let veto = take(1)[0];
        let veto = VetoKind::ALL.into_iter().find(|kind| *kind as u8 == veto);
        let score = f32::from_bits(u32::from_le_bytes(array(take(4))));
        let issued = u64::from_le_bytes(array(take(8)));
        let subject = array(take(SHORT));
        if now.saturating_sub(issued) > LASTS_SECONDS {
            return Err(invalid(format!(
                "the ticket is {} s old; it is taken for {LASTS_SECONDS} s",
                now - issued
            )));
        }
        Ok(Ticket {
            score,
            veto,
            issued,
            subject,
        })
    }
}

/// The kind, if there is exactly one.
pub fn single_kind(kinds: impl Iterator<Item = VetoKind>) -> Option<VetoKind> {
    let set = kinds.fold(Kinds::NONE, Kinds::with);
    match set.list()[..] {
        [kind] => Some(kind),
        _ => None,
    }
}

/// A tag that only the holder of the key can make: hashed twice, so that a tag cannot be extended.
fn tag(said: &[u8], namespace: &str, key: &Key) -> [u8; SHORT] {
    let mut inner = Sha256::new();
    inner.update(key);
    inner.update((namespace.len() as u64).to_le_bytes());
    inner.update(namespace);
    inner.update(said);
    let mut outer = Sha256::new();
    outer.update(key);
    outer.update(inner.finalize());
    short(&outer.finalize())
}

fn short(hash: &[u8]) -> [u8; SHORT] {
    array(&hash[..SHORT])
}

/// The caller knows the length.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

fn bytes_of(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Key = [7; 32];

    fn ticket() -> Ticket {
        Ticket {
            score: 0.91,
            veto: Some(VetoKind::Numbers),
            issued: 1_000,
            subject: Ticket::subject("n", &"ab".repeat(32), 7, 900),
        }
    }

    #[test]
    fn a_ticket_is_of_one_namespace_one_key_and_a_day() {
        let text = ticket().to_text("n", &KEY);
        assert_eq!(
            Ticket::from_text(&text, "n", &KEY, 1_000).unwrap(),
            ticket()
        );
        assert!(Ticket::from_text(&text, "n", &KEY, 87_400).is_ok());
        // A clock that was set back makes it no older.
        assert!(Ticket::from_text(&text, "n", &KEY, 0).is_ok());
        for (namespace, key, now) in [("m", KEY, 1_000), ("n", [8; 32], 1_000), ("n", KEY, 87_401)]
        {
            assert!(Ticket::from_text(&text, namespace, &key, now).is_err());
        }
        let without = Ticket {
            veto: None,
            ..ticket()
        };
        let text = without.to_text("n", &KEY);
        assert_eq!(Ticket::from_text(&text, "n", &KEY, 1_000).unwrap(), without);
    }

    #[test]
    fn subjects_differ_with_each_part() {
        let of = |namespace, hash: &str, id, at| Ticket::subject(namespace, hash, id, at);
        let all = [
            of("n", "a", 1, 2),
            of("na", "", 1, 2),
            of("n", "b", 1, 2),
            of("n", "a", 2, 2),
            of("n", "a", 1, 3),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != one));
        }
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_ticket(at in 0_usize..2 * BYTES, digit in "[0-9a-fA-F\u{e9}]", cut in 0_usize..2 * BYTES) {
            let text = ticket().to_text("n", &KEY);
            let mut changed: Vec<char> = text.chars().collect();
            changed[at] = digit.chars().next().unwrap();
            let changed: String = changed.into_iter().collect();
            prop_assert_eq!(Ticket::from_text(&changed, "n", &KEY, 1_000).is_ok(), changed == text);
            prop_assert!(Ticket::from_text(&text[..cut], "n", &KEY, 1_000).is_err());
        }
    }
}
