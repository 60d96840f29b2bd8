//! Memory that a test can limit.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What is smaller is always granted: most of it cannot be refused.
const SMALL: usize = 16 << 10;

thread_local! {
    /// How much more this thread gets, if that is limited. What it frees counts.
    static LEFT: Cell<Option<isize>> = const { Cell::new(None) };
}

/// Runs a test with so many bytes of memory beside what there is.
pub fn with_memory<T>(bytes: usize, test: impl FnOnce() -> T) -> T {
    struct Unlimited;
    impl Drop for Unlimited {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }
    LEFT.set(Some(bytes.cast_signed()));
    let _unlimited = Unlimited;
    test()
}

struct Limited;

#[global_allocator]
static LIMITED: Limited = Limited;

/// Takes so many bytes, or gives them back. False if there are too few.
fn took(size: usize, bytes: isize) -> bool {
    LEFT.get().is_none_or(|left| {
        // Whoever panics has a message and a backtrace to write.
        let enough = left >= bytes || size < SMALL || std::thread::panicking();
        if enough {
            LEFT.set(Some(left - bytes));
        }
        enough
    })
}

// SAFETY: what is granted is the system's, with its layout.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match took(layout.size(), layout.size().cast_signed()) {
            // SAFETY: as the caller promises.
            true => unsafe { System.alloc(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match took(layout.size(), layout.size().cast_signed()) {
            // SAFETY: as the caller promises.
            true => unsafe { System.alloc_zeroed(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        took(0, -layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match took(size, size.cast_signed() - layout.size().cast_signed()) {
            // SAFETY: as the caller promises.
            true => unsafe { System.realloc(at, layout, size) },
            false => std::ptr::null_mut(),
        }
    }
}
