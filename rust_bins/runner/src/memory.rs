//! The process's own memory: its peak, and what becomes of freed tensors.

use crate::error::{Error, Result};

/// The high-water mark of this process in bytes: `VmHWM`, because `ru_maxrss` inherits the parent's size at fork.
///
/// # Errors
/// `internal` when the kernel does not tell.
#[cfg(target_os = "linux")]
pub fn peak_rss_bytes() -> Result<u64> {
    const STATUS: &str = "/proc/self/status";
    let status = std::fs::read_to_string(STATUS).map_err(|e| Error::internal(format!("cannot read {STATUS}: {e}")))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| Error::internal(format!("{STATUS} has no VmHWM")))
}

/// The high-water mark of this process in bytes: `ru_maxrss` of self, in bytes on macOS.
///
/// # Errors
/// `internal` when the kernel does not tell.
#[cfg(target_os = "macos")]
#[allow(unsafe_code)]
pub fn peak_rss_bytes() -> Result<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes of one `rusage`, and all-zero is a valid value of it.
    let (status, usage) = unsafe { (libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), usage.assume_init()) };
    if status != 0 {
        return Err(Error::internal(format!("getrusage: {}", std::io::Error::last_os_error())));
    }
    u64::try_from(usage.ru_maxrss).map_err(|_| Error::internal("getrusage: negative ru_maxrss"))
}

/// Not known on this platform.
///
/// # Errors
/// Always `unsupported`.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn peak_rss_bytes() -> Result<u64> {
    Err(Error::unsupported("the peak of resident memory is not known on this platform"))
}

/// Keeps freed pages in the process instead of giving them back to the kernel; to be called before any thread starts.
///
/// A framework without a pool of its own frees and allocates large tensors all the time. The C library maps each one
/// anew by default, and the kernel clears every page again: 42 % of the time of a small `UNet` on candle. Here all of them
/// come from one heap, which grows by large steps and never shrinks; a heap for each thread would be mapped and cleared
/// as before. How memory is allocated is the application's to choose. It does nothing elsewhere than on glibc.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "`mallopt` is a foreign function")]
    // SAFETY: `mallopt` takes two integers, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, GROWTH_BYTES);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWTH_BYTES: i32 = 64 << 20;
