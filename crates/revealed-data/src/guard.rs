//! Code of other crates that panics on some damaged files: bad input, and no bug of the caller's.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is in code whose panic is caught and made an error: a panic hook has nothing to say then.
pub fn panic_is_caught() -> bool {
    DEPTH.get() > 0
}

/// What the work gives; nothing where it panics.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_nothing_and_only_inside_is_it_caught() {
        assert_eq!(guarded(panic_is_caught), Some(true));
        assert_eq!(guarded(|| -> u8 { panic!("not the caller's fault") }), None);
        assert!(!panic_is_caught());
    }
}
