//! How much SQLite does for a call: the steps of its virtual machine, which do not depend on the
//! machine that the test runs on.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::Once;

use rusqlite::ffi;

thread_local! {
    /// Steps of the statements that this thread has run to their end.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// The steps of all statements that a call runs on this thread, on connections that were opened
/// after the first call of [`watch`].
pub fn of<T>(call: impl FnOnce() -> T) -> (u64, T) {
    let before = STEPS.get();
    let outcome = call();
    (STEPS.get() - before, outcome)
}

/// Watches the connections that this program opens from now on.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: `watch_connection` has the signature of such a function, and stays where it is.
        let code = unsafe { ffi::sqlite3_auto_extension(Some(watch_connection)) };
        assert_eq!(code, ffi::SQLITE_OK);
    });
}

/// SQLite calls it for each new connection.
unsafe extern "C" fn watch_connection(
    connection: *mut ffi::sqlite3,
    _: *mut *mut c_char,
    _: *const ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: SQLite gives a connection that is open; `count` has the signature that it calls.
    unsafe {
        ffi::sqlite3_trace_v2(
            connection,
            ffi::SQLITE_TRACE_PROFILE as c_uint,
            Some(count),
            null_mut(),
        )
    }
}

/// SQLite calls it when a statement has ended.
unsafe extern "C" fn count(
    _: c_uint,
    _: *mut c_void,
    statement: *mut c_void,
    _: *mut c_void,
) -> c_int {
    // SAFETY: with SQLITE_TRACE_PROFILE this is the statement, which exists until the call returns.
    let steps =
        unsafe { ffi::sqlite3_stmt_status(statement.cast(), ffi::SQLITE_STMTSTATUS_VM_STEP, 1) };
    STEPS.set(STEPS.get() + u64::from(steps.unsigned_abs()));
    0
}
