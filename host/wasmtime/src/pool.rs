//! Calling a service of the program, an embedder or a verifier, with a limit of time and of
//! concurrency, and a breaker.
//!
//! Services block, and may hang. They run on separate threads, so one that hangs is abandoned
//! instead of waited for. Each item waits in line until a thread is free, for as long as the
//! line moves: a busy service serves all who wait. Where more calls would only take longer
//! ([`Service::max_calls`]), a thread takes the items of several callers from the line at once. One
//! watching thread tells callers when their time is up, whether their items are in line or worked on.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mneme_store::breaker::{Admission, Breaker, Settings};

use crate::embedder::Embedder;
use crate::observe::Place;

/// When the service is left alone, and for how long.
const BREAKER: Settings = Settings {
    failures: 5,
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
};

/// Items that a thread gathers from the line. They take longer together than each, so they are few.
const GATHERED: usize = 32;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// The most threads that hang in calls which nobody waits for any more.
const MAX_ABANDONED: usize = 64;

/// What a pool calls.
pub(crate) trait Service: Send + Sync + 'static {
    /// What it is given.
    type Item: Send + 'static;
    /// What it makes of an item.
    type Done: Send + 'static;
    /// How its calls fail.
    type Error: Failure;

    /// What it is, with its name if it has one: `the embedder "minilm"`.
    fn name(&self) -> String;

    /// What it makes of each item, in their order.
    fn call(&self, items: &[&Self::Item]) -> Outcome<Self>;

    /// See [`Embedder::max_calls`].
    fn max_calls(&self) -> usize;

    /// See [`Embedder::max_call_bytes`].
    fn max_call_bytes(&self) -> usize;

    /// The size of an item.
    fn bytes(item: &Self::Item) -> usize;
}

/// How a call of a service fails.
pub(crate) trait Failure: Clone + std::fmt::Display + Send + 'static {
    /// One of the service, which other items would meet as well.
    fn of_service(message: String, retryable: bool) -> Self;

    fn is_down(&self) -> bool;

    fn is_retryable(&self) -> bool;
}

/// What a call of a service ends with.
pub(crate) type Outcome<S> = Result<Vec<<S as Service>::Done>, <S as Service>::Error>;

/// Is told, outside of any lock, when the service is left alone, and why, and when it works again.
pub(crate) type Tell<S> = Box<dyn Fn(Option<&<S as Service>::Error>) + Send + Sync>;

/// Who waits for an outcome.
pub(crate) trait Caller<S: Service + ?Sized>: Send {
    /// Whether anybody still does.
    fn waits(&self) -> bool;

    fn tell(self: Box<Self>, outcome: Outcome<S>);
}

impl<S: Service + ?Sized> Caller<S> for mpsc::SyncSender<Outcome<S>> {
    fn waits(&self) -> bool {
        true
    }

    fn tell(self: Box<Self>, outcome: Outcome<S>) {
        // Nobody is there only if the caller's thread has ended.
        let _ = self.send(outcome);
    }
}

#[cfg(feature = "tokio")]
impl<S: Service + ?Sized> Caller<S> for tokio::sync::oneshot::Sender<Outcome<S>> {
    fn waits(&self) -> bool {
        !self.is_closed()
    }

    fn tell(self: Box<Self>, outcome: Outcome<S>) {
        // Nobody is there if the caller's future was dropped.
        let _ = self.send(outcome);
    }
}

/// Items that are too many for one call: who waits for the first of them.
struct Rest<S: Service + ?Sized> {
    shared: Arc<Shared<S>>,
    place: Place,
    /// What comes after the call under way.
    items: Vec<S::Item>,
    done: Vec<S::Done>,
    caller: Box<dyn Caller<S>>,
}

impl<S: Service + ?Sized> Caller<S> for Rest<S> {
    fn waits(&self) -> bool {
        self.caller.waits()
    }

    fn tell(mut self: Box<Self>, outcome: Outcome<S>) {
        match outcome {
            Ok(done) => self.done.extend(done),
            Err(error) => return self.caller.tell(Err(error)),
        }
        if self.items.is_empty() {
            return self.caller.tell(Ok(self.done));
        }
        // The others in line come first.
        let shared = Arc::clone(&self.shared);
        let (items, place) = (std::mem::take(&mut self.items), self.place.clone());
        shared.submit_part(items, place, self);
    }
}

/// Limits of a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest that a call may take, and that items wait in line while no call succeeds.
    pub timeout: Duration,
    /// The most calls at the same time, at least 1. The service may ask for fewer.
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

/// Threads that call a service. Dropping it lets those end that do not hang.
pub(crate) struct Pool<S: Service + ?Sized = dyn Embedder> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: Service + ?Sized> {
    service: Arc<S>,
    limits: Limits,
    tell: Tell<S>,
    start: Instant,
    state: Mutex<State<S>>,
    /// There is a job in line, or it is over.
    work: Condvar,
    /// There is a job again, or it is over.
    watch: Condvar,
}

struct State<S: Service + ?Sized> {
    /// The oldest is in front.
    line: VecDeque<Job<S>>,
    /// The calls under way, by number. The times of all are equally long, so the first is the next
    /// to be up.
    calls: BTreeMap<u64, Call<S>>,
    next: u64,
    /// When the service last ended a call other than by failing.
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
    cause: Option<S::Error>,
    over: bool,
}

/// Items in line.
struct Job<S: Service + ?Sized> {
    items: Vec<S::Item>,
    since: Instant,
    place: Place,
    /// Its outcome decides whether the service is left alone any longer.
    is_probe: bool,
    caller: Box<dyn Caller<S>>,
}

/// A call under way.
struct Call<S: Service + ?Sized> {
    /// When its time is up, if its limit is one that a clock can reach.
    until: Option<Instant>,
    is_probe: bool,
    callers: Vec<Box<dyn Caller<S>>>,
}

/// What is to be done once the lock is released.
struct After<S: Service + ?Sized> {
    outcomes: Vec<(Box<dyn Caller<S>>, Outcome<S>)>,
    changed: Option<Option<S::Error>>,
}

impl<S: Service + ?Sized> Default for After<S> {
    fn default() -> Self {
        After {
            outcomes: Vec::new(),
            changed: None,
        }
    }
}

/// An outcome that is not there yet.
pub(crate) struct Pending<S: Service + ?Sized>(mpsc::Receiver<Outcome<S>>);

impl<S: Service + ?Sized> Pending<S> {
    /// Waits for it.
    pub fn wait(self) -> Outcome<S> {
        self.0.recv().unwrap_or_else(|_| Err(dropped()))
    }
}

impl<S: Service + ?Sized> Pool<S> {
    pub fn new(service: Arc<S>, limits: Limits, tell: Tell<S>) -> Self {
        Self::with(service, limits, BREAKER, tell)
    }

    fn with(service: Arc<S>, limits: Limits, settings: Settings, tell: Tell<S>) -> Self {
        let concurrency = limits.concurrency.min(service.max_calls()).max(1);
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
                service,
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

    pub fn service(&self) -> &Arc<S> {
        &self.shared.service
    }

    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Begins to work on items, and tells the caller in the end, on any thread.
    pub fn submit(&self, items: Vec<S::Item>, caller: Box<dyn Caller<S>>) {
        self.shared.submit(items, caller);
    }

    /// Begins to work on items.
    pub fn begin(&self, items: Vec<S::Item>) -> Pending<S> {
        let (sender, outcome) = mpsc::sync_channel(1);
        self.submit(items, Box::new(sender));
        Pending(outcome)
    }

    /// Works on items while the caller waits.
    pub fn call_blocking(&self, items: Vec<S::Item>) -> Outcome<S> {
        self.begin(items).wait()
    }

    /// Works on items while the caller's task waits. If that gives up, items in line are left.
    #[cfg(feature = "tokio")]
    pub fn call_async(
        &self,
        items: Vec<S::Item>,
    ) -> impl Future<Output = Outcome<S>> + Send + use<S> {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        self.submit(items, Box::new(sender));
        async { outcome.await.unwrap_or_else(|_| Err(dropped())) }
    }
}

impl<S: Service + ?Sized> Drop for Pool<S> {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

fn dropped<E: Failure>() -> E {
    E::of_service(
        "the cache was closed while it was at work; open it again".to_owned(),
        true,
    )
}

impl<S: Service + ?Sized> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, items: Vec<S::Item>, caller: Box<dyn Caller<S>>) {
        let place = Place::current();
        if self.part(&items) == items.len() {
            return self.submit_call(items, place, caller);
        }
        let rest = Rest {
            shared: Arc::clone(self),
            place: place.clone(),
            items: Vec::new(),
            done: Vec::with_capacity(items.len()),
            caller,
        };
        self.submit_part(items, place, Box::new(rest));
    }

    /// As many items as go in one call, at least one. The rest waits for its end.
    fn submit_part(
        self: &Arc<Self>,
        mut items: Vec<S::Item>,
        place: Place,
        mut rest: Box<Rest<S>>,
    ) {
        rest.items = items.split_off(self.part(&items));
        self.submit_call(items, place, rest);
    }

    /// How many of the first items go in one call.
    fn part(&self, items: &[S::Item]) -> usize {
        let most = self.service.max_call_bytes();
        let mut bytes = 0_usize;
        let fits = items.iter().take_while(|item| {
            bytes = bytes.saturating_add(S::bytes(item));
            bytes <= most
        });
        fits.count().max(1).min(items.len())
    }

    fn submit_call(
        self: &Arc<Self>,
        items: Vec<S::Item>,
        place: Place,
        caller: Box<dyn Caller<S>>,
    ) {
        let mut state = self.state();
        if state.abandoned >= MAX_ABANDONED {
            drop(state);
            let name = self.service.name();
            let message = format!(
                "{MAX_ABANDONED} calls of {name} hang, so no other is made; set timeouts in it, and restart this process"
            );
            return caller.tell(Err(S::Error::of_service(message, true)));
        }
        let is_probe = match state.breaker.admit(self.start.elapsed()) {
            Admission::Granted => false,
            Admission::Probe => true,
            Admission::Refused(pause) => {
                let error = state.left_alone(&*self.service, pause);
                drop(state);
                return caller.tell(Err(error));
            }
        };
        state.line.push_back(Job {
            items,
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
                    let name = self.service.name();
                    let message = format!(
                        "no thread for {name} could be started: {error}; raise the limit of threads"
                    );
                    job.caller.tell(Err(S::Error::of_service(message, true)));
                }
            }
        }
    }

    /// Sees to it that somebody takes what is in line.
    fn staff(self: &Arc<Self>, state: &mut State<S>) -> std::io::Result<()> {
        self.work.notify_one();
        if state.line.len() <= state.idle || state.workers >= self.limits.concurrency {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let builder = thread::Builder::new().name("mneme-service".to_owned());
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
    fn guard(self: &Arc<Self>, state: &mut State<S>) -> std::io::Result<()> {
        if !state.is_watched {
            let shared = Arc::clone(self);
            let builder = thread::Builder::new().name("mneme-service-time".to_owned());
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
                works.push((job.place, job.items));
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
            let outcomes = self.call_for(works);
            state = self.state();
            let after = match state.calls.remove(&number) {
                Some(call) => state.ended(&*self.service, call, outcomes, self.start.elapsed()),
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

    /// Takes more jobs from the line, if the service has no use for more calls.
    fn gather(&self, state: &mut State<S>, first: Job<S>) -> Vec<Job<S>> {
        let bytes = |job: &Job<S>| job.items.iter().map(S::bytes).sum::<usize>();
        let (mut items, mut length) = (first.items.len(), bytes(&first));
        let mut jobs = vec![first];
        if self.service.max_calls() == usize::MAX {
            return jobs;
        }
        // Idle threads take one each.
        while state.line.len() > state.idle
            && let Some(next) = state.line.front()
            && items + next.items.len() <= GATHERED
            && length + bytes(next) <= self.service.max_call_bytes()
            && let Some(job) = state.line.pop_front()
        {
            if job.is_probe || job.caller.waits() {
                items += job.items.len();
                length += bytes(&job);
                jobs.push(job);
            }
        }
        jobs
    }

    /// Works on the items of jobs, and returns an outcome for each.
    fn call_for(&self, works: Vec<(Place, Vec<S::Item>)>) -> Vec<Outcome<S>> {
        let together = works.len() > 1;
        if together {
            let items: Vec<&S::Item> = works.iter().flat_map(|(_, items)| items).collect();
            match self.call(&items) {
                Ok(done) => {
                    let mut done = done.into_iter();
                    let each = works.iter();
                    return each
                        .map(|(_, items)| Ok(done.by_ref().take(items.len()).collect()))
                        .collect();
                }
                Err(error) if error.is_down() => {
                    return works.iter().map(|_| Err(error.clone())).collect();
                }
                // One of the items is at fault: it is found out which.
                Err(_) => {}
            }
        }
        let each = works.into_iter();
        each.map(|(place, items)| {
            let items: Vec<&S::Item> = items.iter().collect();
            // The span is left before the caller hears of the outcome.
            place.enter(|| self.call(&items))
        })
        .collect()
    }

    /// One call of the service.
    fn call(&self, items: &[&S::Item]) -> Outcome<S> {
        let call = || self.service.call(items);
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            let name = self.service.name();
            let message = format!("{name} panicked; see what it wrote to standard error");
            Err(S::Error::of_service(message, true))
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
    fn line_until(&self, state: &State<S>) -> Option<Instant> {
        let since = state.line.front()?.since.max(state.worked);
        since.checked_add(self.limits.timeout)
    }

    /// The line has not moved for too long.
    fn busy(&self, job: Job<S>) -> After<S> {
        let busy = format!(
            "all {} calls of {} were busy for {:?}, and none succeeded; ask later, or allow more",
            self.limits.concurrency,
            self.service.name(),
            self.limits.timeout
        );
        After {
            outcomes: vec![(job.caller, Err(S::Error::of_service(busy, true)))],
            changed: None,
        }
    }

    /// The time of a call is up.
    fn late(self: &Arc<Self>, state: &mut State<S>, call: Call<S>) -> After<S> {
        state.workers -= 1;
        state.abandoned += 1;
        let advice = match self.service.max_calls() {
            usize::MAX => "check its server, or allow more time",
            _ => "allow more time, or use a model that is smaller or reads less of a text",
        };
        let message = format!(
            "{} did not answer within {:?}; {advice}",
            self.service.name(),
            self.limits.timeout
        );
        let error = S::Error::of_service(message, true);
        let outcomes = call.callers.iter().map(|_| Err(error.clone())).collect();
        let after = state.ended(&*self.service, call, outcomes, self.start.elapsed());
        // Where none can be started, what is in line is told when its time is up.
        let _ = self.staff(state);
        after
    }
}

impl<S: Service + ?Sized> State<S> {
    /// Draws the conclusions of a call, whose callers have an outcome each.
    fn ended(
        &mut self,
        service: &S,
        call: Call<S>,
        outcomes: Vec<Outcome<S>>,
        now: Duration,
    ) -> After<S> {
        let mut after = After::default();
        let failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        match failures.into_iter().find(|error| error.is_down()) {
            Some(error) => {
                let opened = match error.is_retryable() {
                    true => self.breaker.failed(now),
                    false => self.breaker.open(now),
                };
                if call.is_probe {
                    self.breaker.probe_failed(now);
                }
                self.cause = Some(error.clone());
                if opened {
                    after.changed = Some(Some(error.clone()));
                    self.send_away(service, &mut after);
                }
            }
            // A service that finds fault with an item works.
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

    /// Tells those in line that the service is left alone.
    fn send_away(&mut self, service: &S, after: &mut After<S>) {
        for job in std::mem::take(&mut self.line) {
            let error = self.left_alone(service, Duration::ZERO);
            after.outcomes.push((job.caller, Err(error)));
        }
    }

    fn left_alone(&self, service: &S, pause: Duration) -> S::Error {
        let cause = self.cause.as_ref();
        let again = match pause.is_zero() {
            true => "soon".to_owned(),
            false => format!("in {:.1} s", pause.as_secs_f64()),
        };
        let last = cause.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let message = format!(
            "{} was not asked, as it has failed before; it is asked again {again}; its last error: {last}",
            service.name()
        );
        S::Error::of_service(message, cause.is_none_or(Failure::is_retryable))
    }
}

impl<S: Service + ?Sized> After<S> {
    fn run(self, tell: &Tell<S>) {
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
