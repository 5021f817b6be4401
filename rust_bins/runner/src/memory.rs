//! The process's own peak of resident memory.

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
