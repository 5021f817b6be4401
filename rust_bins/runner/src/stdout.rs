//! Standard output belongs to the protocol alone.

use std::fs::File;
use std::io;

/// Takes standard output for the protocol: from here on, whatever a framework or a library prints on descriptor 1 goes
/// to standard error, and only the returned file reaches the driver.
///
/// # Errors
/// When a descriptor cannot be duplicated.
#[cfg(unix)]
pub fn take() -> io::Result<File> {
    // Close-on-exec, so that a child process of a framework cannot hold the protocol's pipe open.
    let protocol = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(protocol))
}

/// Standard output as it is: prints cannot be redirected on this platform.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn take() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}
