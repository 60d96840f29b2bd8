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
    /// The memory of this process, which the system limits.
    #[error(
        "the cache has {bytes} bytes of memory and needs more, and the system refuses it to this process; raise its limit (ulimit -d, or RLIMIT_DATA), set Builder::memory_limit below it, or choose a smaller vector dtype"
    )]
    SystemMemory {
        /// What the component has.
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
    /// Why the component was refused memory when it last asked for it, since this was last cleared.
    pub denied: Option<Limit>,
    /// The last growth that was granted, if the system has not refused it yet.
    growth: usize,
}

impl Guard {
    /// Nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        Guard {
            limits,
            ..Self::default()
        }
    }

    fn refused_by_system(&self) -> Limit {
        Limit::SystemMemory {
            bytes: self.memory_bytes,
        }
    }
}

/// What the host and its store need beside the component. Where there is none of it, this process would
/// end.
#[cfg(unix)]
const HOST_BYTES: usize = 16 << 20;

/// Whether the host has room left if the component gets so many bytes, where the system limits them.
#[cfg(unix)]
fn leaves_room(bytes: usize) -> bool {
    use rustix::process::{Resource, getrlimit};
    // A limit of the address space was met when the component was started.
    if getrlimit(Resource::Data).current.is_none() {
        return true;
    }
    let mut room = Vec::<u8>::new();
    let has_room = room
        .try_reserve_exact(bytes.saturating_add(HOST_BYTES))
        .is_ok();
    // What is never used need not be allocated.
    std::hint::black_box(&room);
    has_room
}

/// As above. The system refuses what is too much.
#[cfg(not(unix))]
fn leaves_room(_bytes: usize) -> bool {
    true
}

impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes.min(maximum.unwrap_or(usize::MAX));
        let growth = desired - current;
        self.denied = if desired > limit {
            Some(Limit::Memory {
                bytes: self.limits.memory_bytes,
            })
        } else if !leaves_room(growth) {
            Some(self.refused_by_system())
        } else {
            None
        };
        if self.denied.is_none() {
            self.memory_bytes += growth;
            self.growth = growth;
        }
        Ok(self.denied.is_none())
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Or it was more than a memory may have, and then nothing was granted.
        if is_of_system(error.root_cause()) {
            self.memory_bytes -= std::mem::take(&mut self.growth);
            self.denied = Some(self.refused_by_system());
        } else {
            self.denied = Some(Limit::Memory {
                bytes: self.limits.memory_bytes,
            });
        }
        Ok(())
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
    if guard.denied.is_some() {
        return guard.denied;
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

/// Whether this error is one of the system.
fn is_of_system(cause: &(dyn std::error::Error + 'static)) -> bool {
    #[cfg(unix)]
    if cause.downcast_ref::<rustix::io::Errno>().is_some() {
        return true;
    }
    cause.downcast_ref::<std::io::Error>().is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory_bytes: 1 << 20,
        call_timeout: Duration::from_secs(1),
        host_call_bytes: 1 << 20,
    };

    /// What a component is told that came to its end because it got no memory.
    fn said(guard: &Guard) -> Option<Limit> {
        reached(&wasmtime::Error::from(Trap::UnreachableCodeReached), guard)
    }

    #[test]
    fn growth_beyond_the_limit_is_refused_and_not_counted() {
        let mut guard = Guard::new(LIMITS);
        assert!(guard.memory_growing(0, 1 << 19, None).unwrap());
        assert_eq!(said(&guard), None);
        assert!(!guard.memory_growing(1 << 19, (1 << 20) + 1, None).unwrap());
        assert_eq!(guard.memory_bytes, 1 << 19);
        assert_eq!(said(&guard), Some(Limit::Memory { bytes: 1 << 20 }));
        assert!(guard.memory_growing(1 << 19, 1 << 20, None).unwrap());
        assert_eq!((guard.memory_bytes, said(&guard)), (1 << 20, None));
    }

    #[test]
    fn growth_that_the_system_refuses_is_its_limit_and_not_counted() {
        let mut guard = Guard::new(LIMITS);
        assert!(guard.memory_growing(0, 1 << 18, None).unwrap());
        assert!(guard.memory_growing(1 << 18, 1 << 19, None).unwrap());
        let refused = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        guard.memory_grow_failed(refused.into()).unwrap();
        assert_eq!(guard.memory_bytes, 1 << 18);
        assert_eq!(said(&guard), Some(Limit::SystemMemory { bytes: 1 << 18 }));
        // More than a memory may have is refused without having been asked about.
        let beyond = wasmtime::Error::msg("memory growth exceeds memory type's limits");
        guard.memory_grow_failed(beyond).unwrap();
        assert_eq!(guard.memory_bytes, 1 << 18);
        assert_eq!(said(&guard), Some(Limit::Memory { bytes: 1 << 20 }));
    }
}
