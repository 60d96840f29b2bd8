//! The time of DynamoDB, from the head of each of its responses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

/// What the last response said, since the Unix epoch, and when it came. Whole seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerClock(Arc<Mutex<Option<(Duration, Instant)>>>);

impl ServerClock {
    /// The time there now, if a response told it.
    pub fn now(&self) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(told, at)| told.saturating_add(at.elapsed()))
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(told) = context.response().headers().get("date").and_then(read) {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((told, Instant::now()));
        }
        Ok(())
    }
}

/// Reads the header `date`.
fn read(text: &str) -> Option<Duration> {
    let date = DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?;
    Some(Duration::from_secs(date.secs().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(date), Some(Duration::from_secs(784_111_777)));
        for wrong in ["", "784111777", "Sun, 06 Nov 1994"] {
            assert_eq!(read(wrong), None);
        }
    }
}
