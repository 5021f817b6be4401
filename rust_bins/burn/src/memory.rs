//! How the allocator treats the memory of freed tensors.

/// Keeps freed pages in the process instead of giving them back to the kernel.
///
/// An eager framework frees and allocates large tensors all the time. The C library maps each one anew by default, and
/// the kernel clears every page again: a fifth of the processor time of a training step (`docs/framework-notes/burn.md`).
/// Burn has no pool of its own on the CPU, so this is the application's to choose. It does nothing elsewhere than on
/// glibc.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "`mallopt` is a foreign function")]
    // SAFETY: `mallopt` takes two integers, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}
