use super::{Flights, Key, pause};
use crate::embedder::Precomputed;
use crate::{Answer, GetRequest, MemoryStore, Origin, SemanticCache};
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A cache as its callers have it.
#[derive(Clone)]
enum Front {
    Blocking(SemanticCache),
    #[cfg(feature = "tokio")]
    Tokio(crate::AsyncSemanticCache),
}

impl Front {
    fn all() -> Vec<Self> {
        let open = || {
            SemanticCache::builder()
                .store(MemoryStore::new())
                .embedder(Precomputed::new("v", 2))
                .open()
                .unwrap()
        };
        vec![
            Front::Blocking(open()),
            #[cfg(feature = "tokio")]
            Front::Tokio(crate::AsyncSemanticCache::new(open())),
        ]
    }

    fn ask(&self, compute: impl FnOnce() -> &'static str) -> Answer {
        let request = GetRequest::new("q").embedding(vec![1.0, 0.0]);
        let compute = || Ok::<_, Infallible>(compute().to_owned());
        let Ok(answer) = match self {
            Front::Blocking(cache) => cache.get_or_compute(request, compute),
            #[cfg(feature = "tokio")]
            Front::Tokio(cache) => tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(cache.get_or_compute(request, async { compute() })),
        };
        answer
    }

    /// Deletes the answer, after which the next one must be computed.
    fn forget(&self) {
        let cache = match self {
            Front::Blocking(cache) => cache,
            #[cfg(feature = "tokio")]
            Front::Tokio(cache) => cache.blocking(),
        };
        assert!(cache.delete("q", "default").unwrap());
    }

    fn must_compute(&self) {
        let answer = self.ask(|| "later");
        assert!(
            matches!(answer.origin, Origin::Computed(Ok(_))) && answer.response == "later",
            "{answer:?}"
        );
    }
}

/// Something that one thread tells another.
fn signal() -> (Sender<()>, Receiver<()>) {
    channel()
}

fn wait(signal: &Receiver<()>) {
    signal.recv_timeout(Duration::from_secs(60)).unwrap();
}

/// One caller computes, and another joins meanwhile. Each begins with its own action.
fn share(
    front: &Front,
    computes: impl FnOnce() + Send,
    joins: impl FnOnce() + Send,
    then: impl FnOnce(),
) {
    let (computing, is_computing) = signal();
    let (joined, has_joined) = signal();
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            computes();
            front.ask(|| {
                computing.send(()).unwrap();
                wait(&has_joined);
                "first"
            })
        });
        let second = scope.spawn(move || {
            joins();
            wait(&is_computing);
            pause::at(pause::JOINED, move || joined.send(()).unwrap());
            front.ask(|| unreachable!("it is being computed"))
        });
        then();
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert!(matches!(first.origin, Origin::Computed(Ok(_))), "{first:?}");
        assert!(matches!(second.origin, Origin::Shared), "{second:?}");
        assert_eq!(second.response, "first");
    });
}

#[test]
fn two_who_leave_at_the_same_time_leave_nothing() {
    for front in Front::all() {
        let (left, has_left) = signal();
        share(
            &front,
            // Each keeps its handle until both are through.
            || pause::at(pause::LEFT, move || wait(&has_left)),
            || pause::at(pause::LEFT, move || left.send(()).unwrap()),
            || {},
        );
        front.forget();
        front.must_compute();
    }
}

#[test]
fn nobody_joins_what_has_ended() {
    for front in Front::all() {
        let (leave, may_leave) = signal();
        let (leaving, is_leaving) = signal();
        let (left, has_left) = signal();
        share(
            &front,
            || pause::at(pause::LEFT, move || left.send(()).unwrap()),
            || {
                pause::at(pause::LEAVING, move || {
                    leaving.send(()).unwrap();
                    wait(&may_leave);
                });
            },
            || {
                wait(&has_left);
                wait(&is_leaving);
                front.forget();
                front.must_compute();
                leave.send(()).unwrap();
            },
        );
    }
}

#[test]
fn a_computation_that_panics_is_the_next_ones() {
    for front in Front::all() {
        let panicked = std::thread::scope(|scope| {
            let caller = scope.spawn(|| front.ask(|| panic!("no answer")));
            caller.join().is_err()
        });
        assert!(panicked);
        front.must_compute();
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_computation_that_is_dropped_is_the_next_ones() {
    let Some(Front::Tokio(cache)) = Front::all().pop() else {
        panic!("no asynchronous front");
    };
    let ask = |compute| {
        let cache = cache.clone();
        let request = GetRequest::new("q").embedding(vec![1.0, 0.0]);
        async move { cache.get_or_compute(request, compute).await }
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(async {
        let (computing, is_computing) = tokio::sync::oneshot::channel();
        let never = async move {
            computing.send(()).unwrap();
            std::future::pending().await
        };
        let dropped = tokio::spawn(ask(Box::pin(never)
            as std::pin::Pin<Box<dyn Future<Output = Result<String, Infallible>> + Send>>));
        is_computing.await.unwrap();
        let (joined, has_joined) = tokio::sync::oneshot::channel();
        pause::at(pause::JOINED, move || joined.send(()).unwrap());
        let next = tokio::spawn(ask(Box::pin(async { Ok("next".to_owned()) })));
        has_joined.await.unwrap();
        dropped.abort();
        let Ok(answer) = next.await.unwrap();
        assert!(
            matches!(answer.origin, Origin::Computed(Ok(_))),
            "{answer:?}"
        );
    });
    Front::Tokio(cache.clone()).forget();
    Front::Tokio(cache).must_compute();
}

type Blocking = Flights<Mutex<Option<String>>>;

fn key_of(text: &str) -> Key {
    ("n".to_owned(), String::new(), Vec::new(), text.to_owned())
}

fn flights(of: &Blocking) -> usize {
    of.lock().len()
}

#[test]
fn the_last_to_leave_takes_the_flight_off_the_list() {
    let all = Blocking::default();
    let key = || key_of("h");
    let (a, b) = (all.join(key()), all.join(key()));
    let other = all.join(key_of("other"));
    assert!(std::ptr::eq(a.response(), b.response()));
    assert_eq!(flights(&all), 2);
    drop(other);
    drop(a);
    assert_eq!(flights(&all), 1);
    drop(b);
    assert_eq!(flights(&all), 0);
}

#[test]
fn a_later_flight_is_not_the_earlier_ones_to_remove() {
    let all = Blocking::default();
    let key = || key_of("h");
    let (a, b) = (all.join(key()), all.join(key()));
    let mut locked = a.response().lock().unwrap();
    let published = a.publish(&mut locked, "r");
    drop(all.join(key()));
    assert_eq!(flights(&all), 1, "the response is being stored");
    drop(published);
    drop(locked);
    assert_eq!(flights(&all), 0);
    let c = all.join(key());
    assert_eq!(*c.response().lock().unwrap(), None);
    drop((a, b));
    assert_eq!(flights(&all), 1);
    drop(c);
    assert_eq!(flights(&all), 0);
}
