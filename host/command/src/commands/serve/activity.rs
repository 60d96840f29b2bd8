//! What is under way, to be named if it is dropped.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// What is under way, by name.
#[derive(Default)]
pub struct Activity(Mutex<BTreeMap<String, usize>>);

impl Activity {
    /// Notes that something has begun. It ends when the result is dropped.
    pub fn begin(self: &Arc<Self>, name: String) -> UnderWay {
        *self.counts().entry(name.clone()).or_default() += 1;
        UnderWay {
            activity: Arc::clone(self),
            name,
        }
    }

    /// What is under way, such as `2 GET /v1/dump`; none if nothing is.
    pub fn list(&self) -> Option<String> {
        let counts = self.counts();
        let items: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        (!items.is_empty()).then(|| items.join(", "))
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something under way.
pub struct UnderWay {
    activity: Arc<Activity>,
    name: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.activity.counts();
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

/// A body that holds something until all of it is sent, or nobody wants it.
pub struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T> Holding<T> {
    pub fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
