//! Memory of one tensor goes to the next without a detour over the system.

/// Has the C library keep freed blocks, however large: tensors come back in the same sizes step after step, and pages that
/// are given back are cleared and mapped anew each time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_freed() {
    const LARGE: libc::c_int = 1 << 30;
    #[allow(unsafe_code)]
    // Sound at any time: it sets two numbers of the allocator; one that an older C library refuses it ignores.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Elsewhere the allocator does as it does.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed() {}
