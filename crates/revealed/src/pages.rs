//! Memory of one tensor goes to the next without a detour over the system.

/// Has the C library keep freed blocks, however large, for the rest of the process: tensors come back in the same sizes step
/// after step, and pages that are given back are cleared and mapped anew each time, a tenth of a step's time on a CPU.
///
/// For programs that train on `flex` or LibTorch's CPU under Linux; call it once, before the first tensor. Freed memory
/// then stays the process's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn tune_allocator() {
    const LARGE: libc::c_int = 1 << 30;
    #[allow(unsafe_code)]
    // Sound at any time: it sets numbers of the allocator.
    unsafe {
        if libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) == 0 {
            // The most that older ones take.
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        }
        // Nothing at the heap's end is given back, and it grows by so much at once.
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 16 << 20);
        // Threads' own arenas hold nothing that is larger than 64 MiB.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Elsewhere the allocator does as it does: nothing happens.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune_allocator() {}
