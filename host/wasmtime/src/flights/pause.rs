//! Points at which a test makes a thread wait for another.

use std::cell::RefCell;
use std::collections::HashMap;

/// A caller has joined.
pub const JOINED: &str = "joined";
/// A caller is about to leave.
pub const LEAVING: &str = "leaving";
/// A caller has left, and still has its handle.
pub const LEFT: &str = "left";

type Action = Box<dyn FnOnce()>;

thread_local! {
    static ACTIONS: RefCell<HashMap<&'static str, Action>> = RefCell::default();
}

/// What this thread does when it next comes to the point.
pub fn at(point: &'static str, action: impl FnOnce() + 'static) {
    ACTIONS.with_borrow_mut(|actions| actions.insert(point, Box::new(action)));
}

/// Does it.
pub fn reach(point: &str) {
    let action = ACTIONS.with_borrow_mut(|actions| actions.remove(point));
    if let Some(action) = action {
        action();
    }
}
