//! Limits on a running component: its memory, the time of a call, and the data of a call.

use crate::engine::ADDRESS_SPACE;
use std::time::Duration;
use wasmtime::{Engine, ResourceLimiter, Store, Trap, UpdateDeadline};

/// How often the clock ticks by which calls are timed.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Limits on a component.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most memory, in bytes. Default 2 GiB.
    pub memory_bytes: usize,
    /// The longest that one call may take. Default 60 s.
    pub call_timeout: Duration,
    /// The most bytes that one call may hand to the host. Default 128 MiB.
    pub host_call_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 2 << 30,
            call_timeout: Duration::from_secs(60),
            host_call_bytes: 128 << 20,
        }
    }
}

/// A limit on the component; see the builder's methods of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The component's memory.
    #[error(
        "the cache needs more than its memory limit of {bytes} bytes; raise it with Builder::memory_limit, or choose a smaller vector dtype"
    )]
    Memory {
        /// The limit.
        bytes: usize,
    },
    /// The duration of one call.
    #[error(
        "a call took longer than its limit of {milliseconds} ms and was stopped; raise it with Builder::call_timeout, or look at what the store was doing"
    )]
    Time {
        /// The limit.
        milliseconds: u64,
    },
    /// What one call of the component may hand to the host.
    #[error(
        "the cache tried to hand more than {bytes} bytes to the host in one call; raise the limit with Builder::host_call_bytes, or put smaller batches"
    )]
    HostCall {
        /// The limit.
        bytes: usize,
    },
    /// The address space of this process, which the system limits. Nothing was started.
    #[error(
        "the cache needs {bytes} bytes of address space, though far less memory, and the system refuses them to this process; raise its limit (ulimit -v, or RLIMIT_AS), or open fewer caches in one process"
    )]
    AddressSpace {
        /// What one cache needs.
        bytes: u64,
    },
}

/// The limits of a running component, and how much of them is used.
#[derive(Debug, Default)]
pub struct Guard {
    /// The limits.
    pub limits: Limits,
    /// The bytes of memory that the component has.
    pub memory_bytes: usize,
    /// The component was refused memory since this was last cleared.
    pub memory_denied: bool,
}

impl Guard {
    /// Nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        Guard {
            limits,
            ..Self::default()
        }
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes.min(maximum.unwrap_or(usize::MAX));
        self.memory_denied = desired > limit;
        if !self.memory_denied {
            self.memory_bytes += desired - current;
        }
        Ok(!self.memory_denied)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// What the imports of a limited component work on.
pub trait Guarded: 'static {
    /// The limits.
    fn guard(&mut self) -> &mut Guard;

    /// Whether the component gets more time at its deadline. Also called when a deadline is
    /// set. False by default.
    fn deserves_time(&mut self) -> bool {
        false
    }
}

/// A place for an instance to run in, within the limits of its state.
pub fn limited<S: Guarded>(engine: &Engine, mut state: S) -> Store<S> {
    let limits = state.guard().limits;
    let mut store = Store::new(engine, state);
    store.set_hostcall_fuel(limits.host_call_bytes);
    store.limiter(|state| state.guard());
    store.epoch_deadline_callback(move |mut store| {
        Ok(match store.data_mut().deserves_time() {
            true => UpdateDeadline::Continue(ticks(limits.call_timeout)),
            false => UpdateDeadline::Interrupt,
        })
    });
    set_deadline(&mut store);
    store
}

/// Gives the component its time for one call, from now on.
pub fn set_deadline<S: Guarded>(store: &mut Store<S>) {
    store.data_mut().deserves_time();
    let timeout = store.data_mut().guard().limits.call_timeout;
    store.set_epoch_deadline(ticks(timeout));
}

fn ticks(timeout: Duration) -> u64 {
    let ticks = timeout.as_millis().div_ceil(TICK.as_millis()) + 1;
    u64::try_from(ticks)
        .unwrap_or(u64::MAX / 2)
        .min(u64::MAX / 2)
}

/// The limit that stopped a call of the component, if one did.
pub fn reached(error: &wasmtime::Error, guard: &Guard) -> Option<Limit> {
    let limits = guard.limits;
    if guard.memory_denied {
        return Some(Limit::Memory {
            bytes: limits.memory_bytes,
        });
    }
    if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        let milliseconds = u64::try_from(limits.call_timeout.as_millis()).unwrap_or(u64::MAX);
        return Some(Limit::Time { milliseconds });
    }
    let cause = error.root_cause();
    if is_out_of_memory(cause) {
        return Some(Limit::AddressSpace {
            bytes: ADDRESS_SPACE,
        });
    }
    // wasmtime keeps the type of this error to itself.
    cause
        .to_string()
        .contains("fuel allocated for hostcalls")
        .then_some(Limit::HostCall {
            bytes: limits.host_call_bytes,
        })
}

/// Whether the system had no room. Memory is only taken within limits, so it is address space that
/// is short.
fn is_out_of_memory(cause: &(dyn std::error::Error + 'static)) -> bool {
    #[cfg(unix)]
    if cause.downcast_ref() == Some(&rustix::io::Errno::NOMEM) {
        return true;
    }
    let cause = cause.downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
}
