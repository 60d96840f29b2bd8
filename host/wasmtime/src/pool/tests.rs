use super::*;
use crate::embedder::{EmbedError, Outcome};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
/// What a call takes that does some work.
const WORK: Duration = Duration::from_millis(100);

/// Of an embedder that does few calls at a time.
const CALL_BYTES: usize = 1000;

/// Does what its texts say.
struct Obedient {
    calls: AtomicUsize,
    max_calls: usize,
    /// A text `hang` waits until all senders are gone.
    gate: Mutex<mpsc::Receiver<()>>,
    /// What `ask` does.
    works: Mutex<Result<(), EmbedError>>,
}

impl Embedder for Obedient {
    fn fingerprint(&self) -> &str {
        "obedient-1"
    }

    fn dim(&self) -> u32 {
        1
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.calls.fetch_add(1, SeqCst);
        for text in texts {
            match *text {
                "hang" => drop(self.gate.lock().unwrap().recv()),
                "work" => {
                    let gate = self.gate.lock().unwrap();
                    gate.recv_timeout(WORK).unwrap_or(());
                }
                "panic" => panic!("as it was told"),
                "blank" => return Err(EmbedError::permanent("the text is blank")),
                "ask" => self.works.lock().unwrap().clone()?,
                _ => {}
            }
        }
        Ok(texts.iter().map(|text| vec![text.len() as f32]).collect())
    }

    fn max_calls(&self) -> usize {
        self.max_calls
    }

    fn max_call_bytes(&self) -> usize {
        match self.max_calls {
            usize::MAX => usize::MAX,
            _ => CALL_BYTES,
        }
    }
}

struct Fixture {
    pool: Pool,
    embedder: Arc<Obedient>,
    /// Dropping it lets go all that hang.
    gate: Option<mpsc::Sender<()>>,
    /// What was told: whether it is up.
    told: mpsc::Receiver<bool>,
}

fn fixture(timeout: Duration, concurrency: usize, failures: u32, pause: Duration) -> Fixture {
    with_max_calls(usize::MAX, timeout, concurrency, failures, pause)
}

fn with_max_calls(
    max_calls: usize,
    timeout: Duration,
    concurrency: usize,
    failures: u32,
    pause: Duration,
) -> Fixture {
    let (gate, hangs) = mpsc::channel();
    let embedder = Arc::new(Obedient {
        calls: AtomicUsize::new(0),
        max_calls,
        gate: Mutex::new(hangs),
        works: Mutex::new(Ok(())),
    });
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let settings = Settings {
        failures,
        first_pause: pause,
        longest_pause: pause,
    };
    let limits = Limits {
        timeout,
        concurrency,
    };
    let pool = Pool::with(
        Arc::<Obedient>::clone(&embedder) as Arc<dyn Embedder>,
        limits,
        settings,
        Box::new(move |error| {
            tell.lock().unwrap().send(error.is_none()).unwrap_or(());
        }),
    );
    Fixture {
        pool,
        embedder,
        gate: Some(gate),
        told,
    }
}

impl Fixture {
    fn ask(&self, text: &str) -> Outcome {
        self.pool.call_blocking(vec![text.to_owned()])
    }

    fn begin(&self, times: usize, text: &str) -> Vec<Pending<dyn Embedder>> {
        let begin = || self.pool.begin(vec![text.to_owned()]);
        std::iter::repeat_with(begin).take(times).collect()
    }

    fn calls(&self) -> usize {
        self.embedder.calls.load(SeqCst)
    }
}

fn message(outcome: Outcome) -> String {
    outcome.unwrap_err().message
}

#[test]
fn texts_are_embedded_and_bad_ones_are_told() {
    let f = fixture(LONG, 2, 1, LONG);
    assert_eq!(f.ask("four").unwrap()[0].vector, [4.0]);
    for _ in 0..10 {
        assert!(message(f.ask("blank")).contains("blank"));
    }
    assert_eq!(f.ask("five!").unwrap()[0].vector, [5.0]);
    assert!(f.told.try_recv().is_err(), "texts are at fault, not it");
    assert!(message(f.ask("panic")).contains("panicked"));
    assert!(f.told.try_recv().is_ok(), "it is at fault");
}

#[test]
fn there_may_be_no_time_limit() {
    let f = fixture(Duration::MAX, 1, 1, LONG);
    assert_eq!(f.ask("four").unwrap()[0].vector, [4.0]);
    assert!(message(f.ask("blank")).contains("blank"));
}

#[test]
fn a_call_that_hangs_is_abandoned_and_another_thread_goes_on() {
    let mut f = fixture(SHORT, 1, 100, LONG);
    for _ in 0..3 {
        assert!(message(f.ask("hang")).contains("did not answer within 50ms"));
        assert_eq!(f.ask("go").unwrap()[0].vector, [2.0]);
    }
    let state = f.pool.shared.state();
    assert_eq!((state.workers, state.abandoned), (1, 3));
    drop(state);
    f.gate = None;
    let deadline = Instant::now() + LONG;
    while f.pool.shared.state().abandoned > 0 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert!(f.pool.shared.state().workers <= 1);
    assert_eq!(f.ask("go").unwrap()[0].vector, [2.0]);
}

#[test]
fn after_failures_in_a_row_it_is_left_alone_until_a_probe_succeeds() {
    let pause = Duration::from_millis(200);
    let f = fixture(LONG, 4, 3, pause);
    *f.embedder.works.lock().unwrap() = Err(EmbedError::transient("the server is down"));
    for _ in 0..3 {
        assert!(message(f.ask("ask")).contains("the server is down"));
    }
    assert!(!f.told.recv().unwrap());
    let refused = f.ask("ask").unwrap_err();
    assert!(refused.retryable && refused.down);
    for part in ["was not asked", "the server is down"] {
        assert!(refused.message.contains(part), "{refused}");
    }
    assert_eq!(f.calls(), 3);
    *f.embedder.works.lock().unwrap() = Ok(());
    let deadline = Instant::now() + LONG;
    while f.ask("ask").is_err() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert!(f.told.recv().unwrap());
    assert_eq!(f.calls(), 4, "one probe");
}

#[test]
fn a_refused_key_is_enough() {
    let f = fixture(LONG, 4, 100, LONG);
    *f.embedder.works.lock().unwrap() = Err(EmbedError::down("the key is refused"));
    assert_eq!(message(f.ask("ask")), "the key is refused");
    let refused = f.ask("ask").unwrap_err();
    assert!(!refused.retryable && refused.message.contains("the key is refused"));
    assert_eq!(f.calls(), 1);
}

#[test]
fn those_in_line_are_sent_away_when_all_hang() {
    let timeout = Duration::from_millis(300);
    let f = fixture(timeout, 2, 2, LONG);
    let start = Instant::now();
    let errors = f.begin(100, "hang").into_iter();
    let errors: Vec<EmbedError> = errors.map(|it| it.wait().unwrap_err()).collect();
    assert!(start.elapsed() < LONG);
    let late = errors
        .iter()
        .filter(|e| e.message.contains("did not answer within"));
    assert!(late.count() >= 2);
    assert!(f.calls() <= 4, "{}", f.calls());
    assert!(f.ask("go").is_err(), "it is left alone");
}

#[test]
fn a_pool_that_is_dropped_leaves_no_thread_without_work() {
    let f = fixture(LONG, 4, 1, LONG);
    f.ask("go").unwrap();
    let shared = Arc::downgrade(&f.pool.shared);
    drop(f);
    let deadline = Instant::now() + LONG;
    while shared.strong_count() > 0 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn a_line_that_moves_serves_all_who_wait_in_it() {
    let timeout = 8 * WORK;
    let f = fixture(timeout, 1, 1, LONG);
    let start = Instant::now();
    let begun = f.begin(12, "work").into_iter();
    for outcome in begun.map(Pending::wait) {
        assert_eq!(outcome.unwrap()[0].vector, [4.0]);
    }
    assert!(start.elapsed() > timeout);
}

#[test]
fn a_line_in_which_nothing_succeeds_is_told_after_one_timeout() {
    let f = fixture(10 * SHORT, 1, 100, LONG);
    let begun = f.begin(50, "hang").into_iter();
    let messages: Vec<String> = begun.map(|it| message(it.wait())).collect();
    let busy = messages.iter().filter(|m| m.contains("none succeeded"));
    assert!(busy.count() >= 48, "{messages:?}");
    assert!(f.calls() <= 2, "{}", f.calls());
}

#[test]
fn an_embedder_may_ask_for_fewer_calls() {
    let few = with_max_calls(3, LONG, 16, 1, LONG);
    assert_eq!(few.pool.limits().concurrency, 3);
    let boxed: Box<dyn Embedder> = Box::new(Arc::clone(&few.embedder));
    let shared = Arc::new(boxed);
    assert_eq!(
        (shared.max_calls(), shared.max_call_bytes()),
        (3, CALL_BYTES)
    );
}

#[test]
fn many_texts_go_in_several_calls_and_each_has_its_time() {
    let limit = 4 * WORK;
    let f = with_max_calls(1, limit, 16, 1, LONG);
    let long = "x".repeat(CALL_BYTES - 4);
    // A call does one piece of work: more together would take too long.
    let texts: Vec<String> = ["work", &long]
        .repeat(6)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let begun = Instant::now();
    let embedded = f.pool.call_blocking(texts.clone()).unwrap();
    assert!(begun.elapsed() > limit);
    assert_eq!(f.calls(), 6);
    for (text, embedding) in texts.iter().zip(&embedded) {
        assert_eq!(embedding.vector, [text.len() as f32]);
    }
    assert_eq!(embedded.len(), texts.len());
    // What is longer than a call goes alone.
    let longer = "x".repeat(2 * CALL_BYTES);
    let texts = vec!["one".to_owned(), longer, "two".to_owned()];
    assert_eq!(f.pool.call_blocking(texts).unwrap().len(), 3);
    assert_eq!(f.calls(), 6 + 3);
    // The first call that fails is the last.
    let texts = ["one", "blank", &long, "two"].map(str::to_owned).to_vec();
    assert_eq!(message(f.pool.call_blocking(texts)), "the text is blank");
    assert_eq!(f.calls(), 6 + 3 + 1);
    assert!(f.pool.call_blocking(Vec::new()).unwrap().is_empty());
}

/// While one text is embedded, others wait. What is told of them, and the calls in all.
fn gathered(texts: &[&str]) -> (Vec<Outcome>, usize) {
    let mut f = with_max_calls(1, LONG, 16, 1, LONG);
    let hangs = f.begin(1, "hang");
    while f.calls() < 1 {
        thread::yield_now();
    }
    let line: Vec<Pending<dyn Embedder>> = texts.iter().flat_map(|text| f.begin(1, text)).collect();
    f.gate = None;
    hangs
        .into_iter()
        .for_each(|first| drop(first.wait().unwrap()));
    let outcomes = line.into_iter().map(Pending::wait).collect();
    (outcomes, f.calls())
}

#[test]
fn texts_in_line_are_embedded_together() {
    let texts: Vec<String> = (1..=GATHERED + 1).map(|n| "x".repeat(n)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (outcomes, calls) = gathered(&texts);
    for (text, outcome) in texts.iter().zip(outcomes) {
        assert_eq!(outcome.unwrap()[0].vector, [text.len() as f32]);
    }
    assert_eq!(calls, 3);
}

#[test]
fn one_text_at_fault_does_not_spoil_the_others() {
    let (outcomes, calls) = gathered(&["one", "blank", "three"]);
    assert_eq!(outcomes[0].as_ref().unwrap()[0].vector, [3.0]);
    assert_eq!(
        outcomes[1].as_ref().unwrap_err().message,
        "the text is blank"
    );
    assert_eq!(outcomes[2].as_ref().unwrap()[0].vector, [5.0]);
    // The first, all together, and each alone.
    assert_eq!(calls, 1 + 1 + 3);
}

#[test]
fn a_call_for_many_that_fails_is_told_to_all() {
    let (outcomes, calls) = gathered(&["one", "panic", "three"]);
    for outcome in outcomes {
        assert!(outcome.unwrap_err().message.contains("panicked"));
    }
    assert_eq!(calls, 2);
}

#[cfg(feature = "tokio")]
#[test]
fn nothing_is_embedded_for_a_task_that_gave_up_in_line() {
    let mut f = fixture(LONG, 1, 1, LONG);
    let hangs = f.begin(1, "hang");
    while f.calls() < 1 {
        thread::yield_now();
    }
    drop(f.pool.call_async(vec!["given up".to_owned()]));
    let wanted = f.begin(1, "four");
    f.gate = None;
    for outcome in hangs.into_iter().chain(wanted) {
        outcome.wait().unwrap();
    }
    assert_eq!(f.calls(), 2);
}
