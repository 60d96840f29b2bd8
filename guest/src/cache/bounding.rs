//! The error bound: which scores answer, what labels say, and where both are kept.
//!
//! A namespace's counts are one value of the store's meta. An instance adds what it has counted since it
//! last wrote, by compare-and-set, so that several lose no labels. A value that is damaged or of
//! another version is started over.

use super::judging::Asked;
use super::{Cache, Open};
use crate::bound::ticket::{Key, META_KEY as KEY, Ticket, single_kind};
use crate::bound::used::Used;
use crate::bound::{Label, Ledger, State, compare, score};
use crate::counters::ATTEMPTS;
use crate::error::{Result, invalid};
use crate::host::{Host, Now};
use crate::judge::Kinds;
use crate::options;
use crate::query;
use crate::store::Store;
use crate::types::{
    BackendError, BoundReport, Coordination, Entry, Error, ErrorBound, LabelSource, Options, Veto,
    VetoKind,
};
use sha2::{Digest, Sha256};

/// Before the name of a namespace, the meta key of its counts.
pub(super) const META_PREFIX: &str = "bound:";
/// What others have counted is read again after so many milliseconds.
const REFRESH_MILLIS: u64 = 1_000;
/// Namespaces whose counts are in memory, at most.
const MOST_NAMESPACES: usize = 4_096;

/// What a cache with an error bound knows.
pub(super) struct Bounding {
    bound: ErrorBound,
    key: Key,
    /// Whether others may label too.
    follows: bool,
    /// By the name of the namespace.
    ledgers: Vec<(String, Box<Known>)>,
    used: Used,
}

/// What is known of a namespace.
#[derive(Default)]
struct Known {
    counts: Ledger,
    /// When what others have counted was last read.
    read_at: Option<Now>,
}

/// A candidate that the bound judges.
pub(super) struct Bounded<'a> {
    pub namespace: &'a str,
    pub query_hash: &'a str,
    pub entry: &'a Entry,
    pub score: f32,
}

/// What the bound says of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Answers,
    /// It would, and is refused for a label.
    Explores,
    /// The labels do not open the bound for its score.
    Unproven,
    /// It is proven, and less similar than the request wants.
    TooFar,
}

impl Bounding {
    /// Reads the key of tickets, or makes it.
    pub fn open(store: &impl Store, bound: ErrorBound, options: &Options) -> Result<Self> {
        let seed = &options.seed;
        Ok(Bounding {
            bound,
            follows: !matches!(options.coordination, Coordination::Single),
            key: key(store, seed)?,
            ledgers: Vec::new(),
            used: Used::default(),
        })
    }

    /// Reads what others have counted in a namespace and the key of tickets, if that was long ago.
    pub fn refresh(&mut self, store: &impl Store, namespace: &str, now: Now) -> Result<()> {
        if !self.follows {
            return Ok(());
        }
        let ledger = self.ledger(store, namespace)?;
        // A clock set back must not postpone it for good.
        let is_fresh = |read: &Now| *read <= now && now.millis - read.millis < REFRESH_MILLIS;
        if ledger.read_at.as_ref().is_some_and(is_fresh) {
            return Ok(());
        }
        ledger.counts.read(stored_state(store, namespace)?);
        ledger.read_at = Some(now);
        if let Some(stored) = store.read_meta(KEY)? {
            self.key = key_of(&stored);
        }
        Ok(())
    }

    /// The kinds of vetoes that are asked for, without those that labels have switched off in a namespace.
    pub fn kinds(&mut self, store: &impl Store, namespace: &str, asked: &Asked) -> Result<Kinds> {
        let Asked {
            vetoes: asked,
            names_vetoes,
            ..
        } = *asked;
        if names_vetoes {
            return Ok(asked);
        }
        let bound = self.bound;
        let ledger = &mut self.ledger(store, namespace)?.counts;
        let off = |kind: &VetoKind| ledger.switched_off(*kind, &bound);
        let list = asked.list();
        let off: Vec<VetoKind> = list.into_iter().filter(off).collect();
        Ok(off.into_iter().fold(asked, Kinds::without))
    }

    /// The score from which candidates of a namespace answer.
    pub fn threshold(&mut self, store: &impl Store, namespace: &str) -> Result<Option<f32>> {
        let bound = self.bound;
        Ok(self.ledger(store, namespace)?.counts.threshold(&bound))
    }

    /// Whether a candidate may answer. `is_near`: it is as similar as the request wants.
    pub fn admit(
        &mut self,
        store: &impl Store,
        candidate: &Bounded,
        is_near: bool,
    ) -> Result<Admission> {
        let open = self.threshold(store, candidate.namespace)?;
        if open.is_none_or(|open| candidate.score < open) {
            return Ok(Admission::Unproven);
        }
        if !is_near {
            return Ok(Admission::TooFar);
        }
        let Entry { id, created_at, .. } = *candidate.entry;
        let (namespace, hash) = (candidate.namespace, candidate.query_hash);
        Ok(match self.bound.explores(namespace, hash, id, created_at) {
            true => Admission::Explores,
            false => Admission::Answers,
        })
    }

    /// Counts a request that the exact layer does not answer.
    pub fn observe(
        &mut self,
        store: &impl Store,
        namespace: &str,
        score: Option<f32>,
    ) -> Result<()> {
        self.ledger(store, namespace)?.counts.observe(score);
        Ok(())
    }

    /// The ticket of a candidate.
    pub fn ticket(&self, candidate: &Bounded, vetoes: &[Veto], now: Now) -> String {
        let ticket = Ticket {
            score: candidate.score,
            veto: single_kind(vetoes.iter().map(|veto| veto.kind)),
            issued: now.seconds(),
            subject: Ticket::subject(
                candidate.namespace,
                candidate.query_hash,
                candidate.entry.id,
                candidate.entry.created_at,
            ),
        };
        ticket.to_text(candidate.namespace, &self.key)
    }

    fn label(
        &mut self,
        store: &impl Store,
        namespace: &str,
        ticket: &str,
        label: Label,
        now: Now,
    ) -> Result<()> {
        let read = |key: &Key| Ticket::from_text(ticket, namespace, key, now.seconds());
        let mut found = read(&self.key);
        if found.is_err()
            && let Some(stored) = store.read_meta(KEY)?
        {
            // Whoever has loaded a checkpoint has made another.
            self.key = key_of(&stored);
            found = read(&self.key);
        }
        let ticket = found?;
        if self.used.contains(store, &ticket.subject)? {
            return Err(invalid(
                "the ticket was used, or another one of the same question and entry; each is labelled once",
            ));
        }
        let ledger = &mut self.ledger(store, namespace)?.counts;
        match ticket.veto {
            Some(kind) => ledger.label_veto(kind, label),
            None => ledger.label(ticket.score, label),
        }
        self.used.insert(&ticket.subject);
        Ok(())
    }

    /// What the labels of a namespace say.
    pub fn report(&mut self, store: &impl Store, namespace: &str) -> Result<BoundReport> {
        let bound = self.bound;
        let ledger = &mut self.ledger(store, namespace)?.counts;
        ledger.read(stored_state(store, namespace)?);
        Ok(ledger.report(&bound).into())
    }

    /// What the labels say of each namespace that was counted for since the cache was opened.
    pub fn reports(&self) -> Vec<(String, BoundReport)> {
        let each = self.ledgers.iter();
        each.map(|(name, known)| (name.clone(), known.counts.report(&self.bound).into()))
            .collect()
    }

    /// Adds what was counted to what the store has. After an error it waits for the next write. A namespace
    /// without a label has nothing worth keeping: whoever asks may make up names without end.
    pub fn flush(&mut self, store: &impl Store) -> Result<()> {
        for (namespace, known) in &mut self.ledgers {
            if known.counts.is_labelled() {
                write(store, namespace, &mut known.counts)?;
            }
        }
        self.used.flush(store)
    }

    /// As [`Bounding::flush`], for one namespace.
    fn write(&mut self, store: &impl Store, namespace: &str) -> Result<()> {
        let known = self.ledger(store, namespace)?;
        write(store, namespace, &mut known.counts)?;
        self.used.flush(store)
    }

    /// Forgets the counts of a namespace, or of all, in memory.
    fn reset(&mut self, namespace: Option<&str>) {
        match namespace {
            Some(namespace) => self.ledgers.retain(|(name, _)| name != namespace),
            None => self.ledgers.clear(),
        }
    }

    /// Reads everything again, the key too: the store's data was replaced.
    fn read_again(&mut self, store: &impl Store, seed: &[u8]) -> Result<()> {
        self.ledgers.clear();
        self.key = key(store, seed)?;
        Ok(())
    }

    fn ledger(&mut self, store: &impl Store, namespace: &str) -> Result<&mut Known> {
        let find = |ledgers: &[(String, Box<Known>)]| {
            ledgers.binary_search_by(|(name, _)| name.as_str().cmp(namespace))
        };
        let at = match find(&self.ledgers) {
            Ok(at) => at,
            Err(mut at) => {
                if self.ledgers.len() >= MOST_NAMESPACES {
                    // What cannot be written now is lost, and does no harm.
                    let _ = self.flush(store);
                    self.ledgers.clear();
                    at = 0;
                }
                let mut known = Box::<Known>::default();
                known.counts.read(stored_state(store, namespace)?);
                self.ledgers.insert(at, (namespace.to_owned(), known));
                at
            }
        };
        Ok(&mut self.ledgers[at].1)
    }
}

/// Adds what was counted of a namespace to what the store has.
fn write(store: &impl Store, namespace: &str, counts: &mut Ledger) -> Result<()> {
    let Some(unwritten) = counts.unwritten() else {
        return Ok(());
    };
    let key = meta_key(namespace);
    for _ in 0..ATTEMPTS {
        let before = store.read_meta(&key)?;
        let mut sum = state(before.as_deref());
        sum.add(unwritten);
        if store.replace_meta(&key, before.as_deref(), Some(&sum.to_text()))? {
            counts.written(sum);
            return Ok(());
        }
    }
    Err(Error::Backend(BackendError {
        message: format!(
            "the counts of the error bound of namespace {namespace:?} changed at each of {ATTEMPTS} attempts to add to them; they are written later"
        ),
        retryable: true,
    }))
}

/// What a text of the store says; nothing counted if it is damaged or of another version.
fn state(text: Option<&str>) -> State {
    text.and_then(State::from_text).unwrap_or_default()
}

/// What the store has counted of a namespace.
fn stored_state(store: &impl Store, namespace: &str) -> Result<State> {
    let text = store.read_meta(&meta_key(namespace))?;
    Ok(state(text.as_deref()))
}

/// Forgets what the store has counted of a namespace, or of all.
fn forget(store: &impl Store, namespace: Option<&str>) -> Result<()> {
    let keys = match namespace {
        Some(namespace) => vec![meta_key(namespace)],
        None => {
            let all = store.list_meta()?.into_iter();
            all.map(|(key, _)| key)
                .filter(|key| key.starts_with(META_PREFIX))
                .collect()
        }
    };
    for key in keys {
        let value = store.read_meta(&key)?;
        if value.is_some() {
            // Whoever has written in between counts what is new.
            store.replace_meta(&key, value.as_deref(), None)?;
        }
    }
    Ok(())
}

fn meta_key(namespace: &str) -> String {
    format!("{META_PREFIX}{namespace}")
}

/// The key of the store's tickets, made of the seed of whoever comes first.
fn key(store: &impl Store, seed: &[u8]) -> Result<Key> {
    for _ in 0..ATTEMPTS {
        if let Some(stored) = store.read_meta(KEY)? {
            return Ok(key_of(&stored));
        }
        let made = query::hex(&Sha256::digest(seed));
        match store.replace_meta(KEY, None, Some(&made)) {
            // A store that is only read: its tickets are taken here only.
            Ok(true) | Err(Error::Unsupported(_)) => return Ok(key_of(&made)),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Backend(BackendError {
        message: format!(
            "others change the meta value {KEY:?} all the time; try again when fewer load checkpoints"
        ),
        retryable: true,
    }))
}

/// The key that a stored value stands for.
fn key_of(stored: &str) -> Key {
    Sha256::digest(stored).into()
}

/// The score of a candidate, by the response of the next one.
pub(super) fn score_of(similarity: f32, response: &str, next: Option<&str>) -> f32 {
    score(
        similarity,
        next.map(|next| compare(response, next) == Label::Same),
    )
}

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.feedback`. Labels count alike, whoever gives them.
    pub fn feedback(
        &mut self,
        namespace: &str,
        ticket: &str,
        label: Label,
        _source: LabelSource,
    ) -> Result<()> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(namespace)?;
        let now = host.now();
        let Some(bounding) = &mut open.bounding else {
            return Err(invalid(
                "the cache has no error bound, so there is nothing to label; open it with the option error-bound",
            ));
        };
        bounding.label(store, namespace, ticket, label, now)?;
        // What is acknowledged is kept, unless the store fails for a while.
        match bounding.write(store, namespace) {
            Err(error @ Error::Unsupported(_)) => return Err(error),
            Err(_) => open.backlog.record(now),
            Ok(()) => {}
        }
        open.flush_if_due(store, now);
        Ok(())
    }

    /// See `cache.bounds`.
    pub fn bounds(&mut self) -> Result<Vec<(String, BoundReport)>> {
        let (_, _, open) = self.parts()?;
        let bounding = open.bounding.as_ref();
        Ok(bounding.map_or_else(Vec::new, Bounding::reports))
    }
}

impl Open {
    /// Forgets what labels said of a namespace, or of all, whose entries are gone.
    pub(super) fn forget_labels(
        &mut self,
        store: &impl Store,
        namespace: Option<&str>,
    ) -> Result<()> {
        if let Some(bounding) = &mut self.bounding {
            bounding.reset(namespace);
        }
        forget(store, namespace)
    }

    /// Replaces the key of tickets by one of this cache's seed, and forgets what was read: the store's data
    /// was replaced, and whoever has the archive may know its key.
    pub(super) fn replace_ticket_key(&mut self, store: &impl Store) -> Result<()> {
        if let Some(stored) = store.read_meta(KEY)? {
            store.replace_meta(KEY, Some(&stored), None)?;
        }
        match &mut self.bounding {
            Some(bounding) => bounding.read_again(store, &self.options.seed),
            None => Ok(()),
        }
    }

    /// What the labels of a namespace say, with an error bound.
    pub(super) fn bound_report(
        &mut self,
        store: &impl Store,
        namespace: Option<&str>,
    ) -> Result<Option<BoundReport>> {
        match (&mut self.bounding, namespace) {
            (Some(bounding), Some(namespace)) => bounding.report(store, namespace).map(Some),
            _ => Ok(None),
        }
    }
}
