//! Embedding with a limit of time and of concurrency, and a breaker.
//!
//! Embedders block, and may hang. They run on separate threads, so one that hangs is abandoned
//! instead of waited for. Each text waits in line until a thread is free, for as long as the
//! line moves: a busy embedder serves all who wait. Where more calls would only take longer
//! ([`Embedder::max_calls`]), a thread takes the texts of several callers from the line at once. One
//! watching thread tells callers when their time is up, whether their texts are in line or embedded.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mneme_store::breaker::{Admission, Breaker, Settings};

use super::{EmbedError, Embedder, Embedding, read_each};
use crate::observe::Place;

/// When the embedder is left alone, and for how long.
const BREAKER: Settings = Settings {
    failures: 5,
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
};

/// Texts that a thread gathers from the line. They take longer together than each, so they are few.
const GATHERED: usize = 32;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// The most threads that hang in calls which nobody waits for any more.
const MAX_ABANDONED: usize = 64;

/// What a call of the embedder ends with.
pub(crate) type Outcome = Result<Vec<Embedding>, EmbedError>;

/// Is told, outside of any lock, when the embedder is left alone, and why, and when it works again.
pub(crate) type Tell = Box<dyn Fn(Option<&EmbedError>) + Send + Sync>;

/// Who waits for an outcome.
trait Caller: Send {
    /// Whether anybody still does.
    fn waits(&self) -> bool;

    fn tell(self: Box<Self>, outcome: Outcome);
}

impl Caller for mpsc::SyncSender<Outcome> {
    fn waits(&self) -> bool {
        true
    }

    fn tell(self: Box<Self>, outcome: Outcome) {
        // Nobody is there only if the caller's thread has ended.
        let _ = self.send(outcome);
    }
}

#[cfg(feature = "tokio")]
impl Caller for tokio::sync::oneshot::Sender<Outcome> {
    fn waits(&self) -> bool {
        !self.is_closed()
    }

    fn tell(self: Box<Self>, outcome: Outcome) {
        // Nobody is there if the caller's future was dropped.
        let _ = self.send(outcome);
    }
}

/// Texts that are too many for one call: who waits for the first of them.
struct Rest {
    shared: Arc<Shared>,
    place: Place,
    /// What comes after the call under way.
    texts: Vec<String>,
    done: Vec<Embedding>,
    caller: Box<dyn Caller>,
}

impl Caller for Rest {
    fn waits(&self) -> bool {
        self.caller.waits()
    }

    fn tell(mut self: Box<Self>, outcome: Outcome) {
        match outcome {
            Ok(embeddings) => self.done.extend(embeddings),
            Err(error) => return self.caller.tell(Err(error)),
        }
        if self.texts.is_empty() {
            return self.caller.tell(Ok(self.done));
        }
        // The others in line come first.
        let shared = Arc::clone(&self.shared);
        let (texts, place) = (std::mem::take(&mut self.texts), self.place.clone());
        shared.submit_part(texts, place, self);
    }
}

/// Limits of a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest that a call may take, and that texts wait in line while no call succeeds.
    pub timeout: Duration,
    /// The most calls at the same time, at least 1. The embedder may ask for fewer.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            concurrency: 16,
        }
    }
}

/// Threads that embed. Dropping it lets those end that do not hang.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    embedder: Arc<dyn Embedder>,
    limits: Limits,
    tell: Tell,
    start: Instant,
    state: Mutex<State>,
    /// There is a job in line, or it is over.
    work: Condvar,
    /// There is a job again, or it is over.
    watch: Condvar,
}

struct State {
    /// The oldest is in front.
    line: VecDeque<Job>,
    /// The calls under way, by number. The times of all are equally long, so the first is the next
    /// to be up.
    calls: BTreeMap<u64, Call>,
    next: u64,
    /// When the embedder last ended a call other than by failing.
    worked: Instant,
    /// Threads that do not hang.
    workers: usize,
    /// Workers that wait for a job.
    idle: usize,
    /// Threads in calls that nobody waits for any more.
    abandoned: usize,
    is_watched: bool,
    breaker: Breaker,
    /// The last error that counted.
    cause: Option<EmbedError>,
    over: bool,
}

/// Texts in line.
struct Job {
    texts: Vec<String>,
    since: Instant,
    place: Place,
    /// Its outcome decides whether the embedder is left alone any longer.
    is_probe: bool,
    caller: Box<dyn Caller>,
}

/// A call under way.
struct Call {
    /// When its time is up, if its limit is one that a clock can reach.
    until: Option<Instant>,
    is_probe: bool,
    callers: Vec<Box<dyn Caller>>,
}

/// What is to be done once the lock is released.
#[derive(Default)]
struct After {
    outcomes: Vec<(Box<dyn Caller>, Outcome)>,
    changed: Option<Option<EmbedError>>,
}

/// An outcome that is not there yet.
pub(crate) struct Pending(mpsc::Receiver<Outcome>);

impl Pending {
    /// Waits for it.
    pub fn wait(self) -> Outcome {
        self.0.recv().unwrap_or_else(|_| Err(dropped()))
    }
}

impl Pool {
    pub fn new(embedder: Arc<dyn Embedder>, limits: Limits, tell: Tell) -> Self {
        Self::with(embedder, limits, BREAKER, tell)
    }

    fn with(embedder: Arc<dyn Embedder>, limits: Limits, settings: Settings, tell: Tell) -> Self {
        let concurrency = limits.concurrency.min(embedder.max_calls()).max(1);
        let start = Instant::now();
        let state = State {
            line: VecDeque::new(),
            calls: BTreeMap::new(),
            next: 0,
            worked: start,
            workers: 0,
            idle: 0,
            abandoned: 0,
            is_watched: false,
            breaker: Breaker::new(settings),
            cause: None,
            over: false,
        };
        Pool {
            shared: Arc::new(Shared {
                embedder,
                limits: Limits {
                    concurrency,
                    ..limits
                },
                tell,
                start,
                state: Mutex::new(state),
                work: Condvar::new(),
                watch: Condvar::new(),
            }),
        }
    }

    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.shared.embedder
    }

    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Begins to embed texts.
    pub fn begin(&self, texts: Vec<String>) -> Pending {
        let (sender, outcome) = mpsc::sync_channel(1);
        self.shared.submit(texts, Box::new(sender));
        Pending(outcome)
    }

    /// Embeds texts while the caller waits.
    pub fn embed_blocking(&self, texts: Vec<String>) -> Outcome {
        self.begin(texts).wait()
    }

    /// Embeds texts while the caller's task waits. If that gives up, texts in line are not embedded.
    #[cfg(feature = "tokio")]
    pub fn embed_async(&self, texts: Vec<String>) -> impl Future<Output = Outcome> + Send + use<> {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        self.shared.submit(texts, Box::new(sender));
        async { outcome.await.unwrap_or_else(|_| Err(dropped())) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

fn dropped() -> EmbedError {
    EmbedError::transient("the cache was closed while the text was embedded; open it again")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, texts: Vec<String>, caller: Box<dyn Caller>) {
        let place = Place::current();
        if self.part(&texts) == texts.len() {
            return self.submit_call(texts, place, caller);
        }
        let rest = Rest {
            shared: Arc::clone(self),
            place: place.clone(),
            texts: Vec::new(),
            done: Vec::with_capacity(texts.len()),
            caller,
        };
        self.submit_part(texts, place, Box::new(rest));
    }

    /// As many texts as go in one call, at least one. The rest waits for its end.
    fn submit_part(self: &Arc<Self>, mut texts: Vec<String>, place: Place, mut rest: Box<Rest>) {
        rest.texts = texts.split_off(self.part(&texts));
        self.submit_call(texts, place, rest);
    }

    /// How many of the first texts go in one call.
    fn part(&self, texts: &[String]) -> usize {
        let most = self.embedder.max_call_bytes();
        let mut bytes = 0_usize;
        let fits = texts.iter().take_while(|text| {
            bytes = bytes.saturating_add(text.len());
            bytes <= most
        });
        fits.count().max(1).min(texts.len())
    }

    fn submit_call(self: &Arc<Self>, texts: Vec<String>, place: Place, caller: Box<dyn Caller>) {
        let mut state = self.state();
        if state.abandoned >= MAX_ABANDONED {
            drop(state);
            return caller.tell(Err(EmbedError::transient(format!(
                "{MAX_ABANDONED} calls of the embedder {:?} hang, so no other is made; set timeouts in the embedder, and restart this process",
                self.embedder.fingerprint()
            ))));
        }
        let is_probe = match state.breaker.admit(self.start.elapsed()) {
            Admission::Granted => false,
            Admission::Probe => true,
            Admission::Refused(pause) => {
                let error = state.left_alone(pause);
                drop(state);
                return caller.tell(Err(error));
            }
        };
        state.line.push_back(Job {
            texts,
            since: Instant::now(),
            place,
            is_probe,
            caller,
        });
        let started = self.staff(&mut state).and_then(|()| self.guard(&mut state));
        match started {
            Ok(()) => self.watch.notify_one(),
            Err(error) => {
                let job = state.line.pop_back();
                drop(state);
                if let Some(job) = job {
                    job.caller.tell(Err(EmbedError::transient(format!(
                        "no thread for the embedder could be started: {error}; raise the limit of threads"
                    ))));
                }
            }
        }
    }

    /// Sees to it that somebody takes what is in line.
    fn staff(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        self.work.notify_one();
        if state.line.len() <= state.idle || state.workers >= self.limits.concurrency {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let builder = thread::Builder::new().name("mneme-embed".to_owned());
        let started = builder.spawn(move || shared.work());
        match started {
            Ok(_) => state.workers += 1,
            // The others do.
            Err(_) if state.workers > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sees to it that somebody watches the time.
    fn guard(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        if !state.is_watched {
            let shared = Arc::clone(self);
            let builder = thread::Builder::new().name("mneme-embed-time".to_owned());
            builder.spawn(move || shared.watch())?;
            state.is_watched = true;
        }
        Ok(())
    }

    /// What a worker does.
    fn work(&self) {
        let mut state = self.state();
        loop {
            let Some(job) = state.line.pop_front() else {
                if state.over {
                    state.workers -= 1;
                    return;
                }
                state.idle += 1;
                let (locked, waited) = self
                    .work
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = locked;
                state.idle -= 1;
                if waited.timed_out() && state.line.is_empty() {
                    state.workers -= 1;
                    return;
                }
                continue;
            };
            // The probe is made even for nobody, as others wait for its outcome.
            if !job.is_probe && !job.caller.waits() {
                continue;
            }
            let jobs = self.gather(&mut state, job);
            let number = state.next;
            state.next += 1;
            let is_probe = jobs.iter().any(|job| job.is_probe);
            let mut callers = Vec::with_capacity(jobs.len());
            let mut works = Vec::with_capacity(jobs.len());
            for job in jobs {
                callers.push(job.caller);
                works.push((job.place, job.texts));
            }
            state.calls.insert(
                number,
                Call {
                    until: Instant::now().checked_add(self.limits.timeout),
                    is_probe,
                    callers,
                },
            );
            drop(state);
            let outcomes = self.embed(works);
            state = self.state();
            let after = match state.calls.remove(&number) {
                Some(call) => state.ended(call, outcomes, self.start.elapsed()),
                None => {
                    // It was abandoned. Another may have taken its place.
                    state.abandoned -= 1;
                    if state.workers >= self.limits.concurrency {
                        return;
                    }
                    state.workers += 1;
                    After::default()
                }
            };
            drop(state);
            after.run(&self.tell);
            state = self.state();
        }
    }

    /// Takes more jobs from the line, if the embedder has no use for more calls.
    fn gather(&self, state: &mut State, first: Job) -> Vec<Job> {
        let bytes = |job: &Job| job.texts.iter().map(String::len).sum::<usize>();
        let (mut texts, mut length) = (first.texts.len(), bytes(&first));
        let mut jobs = vec![first];
        if self.embedder.max_calls() == usize::MAX {
            return jobs;
        }
        // Idle threads take one each.
        while state.line.len() > state.idle
            && let Some(next) = state.line.front()
            && texts + next.texts.len() <= GATHERED
            && length + bytes(next) <= self.embedder.max_call_bytes()
            && let Some(job) = state.line.pop_front()
        {
            if job.is_probe || job.caller.waits() {
                texts += job.texts.len();
                length += bytes(&job);
                jobs.push(job);
            }
        }
        jobs
    }

    /// Embeds the texts of jobs, and returns an outcome for each.
    fn embed(&self, works: Vec<(Place, Vec<String>)>) -> Vec<Outcome> {
        let together = works.len() > 1;
        if together {
            let texts: Vec<&str> = works
                .iter()
                .flat_map(|(_, texts)| texts)
                .map(String::as_str)
                .collect();
            match self.call(&texts) {
                Ok(embeddings) => {
                    let mut embeddings = embeddings.into_iter();
                    let each = works.iter();
                    return each
                        .map(|(_, texts)| Ok(embeddings.by_ref().take(texts.len()).collect()))
                        .collect();
                }
                Err(error) if error.down => {
                    return works.iter().map(|_| Err(error.clone())).collect();
                }
                // One of the texts is at fault: it is found out which.
                Err(_) => {}
            }
        }
        let each = works.into_iter();
        each.map(|(place, texts)| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            // The span is left before the caller hears of the outcome.
            place.enter(|| self.call(&texts))
        })
        .collect()
    }

    /// One call of the embedder.
    fn call(&self, texts: &[&str]) -> Outcome {
        let call = || read_each(&*self.embedder, texts);
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            Err(EmbedError::transient(
                "the embedder panicked; see what it wrote to standard error",
            ))
        })
    }

    /// What the watching thread does.
    fn watch(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            let is_idle = state.line.is_empty() && state.calls.is_empty();
            if state.over && is_idle {
                state.is_watched = false;
                return;
            }
            let call = state.calls.first_key_value();
            let call = call.and_then(|(_, call)| call.until);
            let line = self.line_until(&state);
            let left = match call.into_iter().chain(line).min() {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => IDLE,
            };
            if !left.is_zero() {
                let (locked, waited) = self
                    .watch
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner);
                state = locked;
                let is_idle = is_idle && state.line.is_empty() && state.calls.is_empty();
                if waited.timed_out() && is_idle {
                    state.is_watched = false;
                    return;
                }
                continue;
            }
            let now = Instant::now();
            let after = match line {
                Some(until) if until <= now => state.line.pop_front().map(|job| self.busy(job)),
                _ => {
                    let call = state.calls.pop_first();
                    call.map(|(_, call)| self.late(&mut state, call))
                }
            };
            drop(state);
            after.unwrap_or_default().run(&self.tell);
            state = self.state();
        }
    }

    /// When the oldest in line has waited long enough without a call that succeeded.
    fn line_until(&self, state: &State) -> Option<Instant> {
        let since = state.line.front()?.since.max(state.worked);
        since.checked_add(self.limits.timeout)
    }

    /// The line has not moved for too long.
    fn busy(&self, job: Job) -> After {
        let busy = EmbedError::transient(format!(
            "all {} calls of the embedder were busy for {:?}, and none succeeded; ask later, or allow more",
            self.limits.concurrency, self.limits.timeout
        ));
        After {
            outcomes: vec![(job.caller, Err(busy))],
            changed: None,
        }
    }

    /// The time of a call is up.
    fn late(self: &Arc<Self>, state: &mut State, call: Call) -> After {
        state.workers -= 1;
        state.abandoned += 1;
        let advice = match self.embedder.max_calls() {
            usize::MAX => "check its server, or allow more time",
            _ => "allow more time, or use a model that is smaller or reads less of a text",
        };
        let error = EmbedError::transient(format!(
            "the embedder {:?} did not answer within {:?}; {advice}",
            self.embedder.fingerprint(),
            self.limits.timeout
        ));
        let outcomes = call.callers.iter().map(|_| Err(error.clone())).collect();
        let after = state.ended(call, outcomes, self.start.elapsed());
        // Where none can be started, what is in line is told when its time is up.
        let _ = self.staff(state);
        after
    }
}

impl State {
    /// Draws the conclusions of a call, whose callers have an outcome each.
    fn ended(&mut self, call: Call, outcomes: Vec<Outcome>, now: Duration) -> After {
        let mut after = After::default();
        let failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        match failures.into_iter().find(|error| error.down) {
            Some(error) => {
                let opened = match error.retryable {
                    true => self.breaker.failed(now),
                    false => self.breaker.open(now),
                };
                if call.is_probe {
                    self.breaker.probe_failed(now);
                }
                self.cause = Some(error.clone());
                if opened {
                    after.changed = Some(Some(error.clone()));
                    self.send_away(&mut after);
                }
            }
            // An embedder that finds fault with a text works.
            None => {
                self.worked = Instant::now();
                if self.breaker.succeeded() {
                    after.changed = Some(None);
                }
            }
        }
        after
            .outcomes
            .extend(call.callers.into_iter().zip(outcomes));
        after
    }

    /// Tells those in line that the embedder is left alone.
    fn send_away(&mut self, after: &mut After) {
        for job in std::mem::take(&mut self.line) {
            let error = self.left_alone(Duration::ZERO);
            after.outcomes.push((job.caller, Err(error)));
        }
    }

    fn left_alone(&self, pause: Duration) -> EmbedError {
        let cause = self.cause.as_ref();
        let again = match pause.is_zero() {
            true => "soon".to_owned(),
            false => format!("in {:.1} s", pause.as_secs_f64()),
        };
        EmbedError {
            message: format!(
                "the embedder was not asked, as it has failed before; it is asked again {again}; its last error: {}",
                cause.map_or("unknown", |cause| &cause.message)
            ),
            retryable: cause.is_none_or(|cause| cause.retryable),
            down: true,
        }
    }
}

impl After {
    fn run(self, tell: &Tell) {
        if let Some(error) = self.changed {
            tell(error.as_ref());
        }
        for (caller, outcome) in self.outcomes {
            caller.tell(outcome);
        }
    }
}

#[cfg(test)]
mod tests;
