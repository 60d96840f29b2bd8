//! What the command leaves behind: nothing on disk, and no program that it has started.

#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Removes temporary files and folders, and ends the programs of `--verify`.
pub fn clean_up() {
    mneme::store::staged::remove_all();
    crate::verify_program::end_all();
}

/// From now on, SIGHUP, SIGINT and SIGTERM end the process as they do by default, after
/// [`clean_up`]. A signal that whoever started the process ignores stays ignored.
///
/// Where signals cannot be waited for, they end it at once.
#[cfg(unix)]
pub fn leave_nothing_behind() {
    let ending = [SIGHUP, SIGINT, SIGTERM].into_iter();
    let ending = ending.filter(|signal| !is_ignored(*signal));
    let ending: Vec<i32> = ending.collect();
    // Without the thread nothing is registered, so that signals end the process as they do by default.
    let _ = std::thread::Builder::new().spawn(move || {
        let Ok(mut signals) = signal_hook::iterator::Signals::new(ending) else {
            return;
        };
        if let Some(signal) = signals.forever().next() {
            clean_up();
            // It ends the process.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

/// On other systems there is nothing to wait for.
#[cfg(not(unix))]
pub fn leave_nothing_behind() {}

/// As `nohup` does with SIGHUP.
#[cfg(target_os = "linux")]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let ignored = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    match ignored {
        Some(mask) => mask >> (signal - 1) & 1 == 1,
        None => signal == SIGHUP,
    }
}

/// There is no telling, so what `nohup` ignores is left alone.
#[cfg(all(unix, not(target_os = "linux")))]
fn is_ignored(signal: i32) -> bool {
    signal == SIGHUP
}
