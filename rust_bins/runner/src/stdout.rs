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

#[cfg(all(test, unix))]
mod tests {
    use std::env;
    use std::io::Write;
    use std::process::Command;

    const CHILD: &str = "ARENA_TEST_TAKES_STDOUT";

    /// Runs itself again as a child process, since taking standard output cannot be undone.
    #[test]
    fn stray_prints_go_to_standard_error() {
        if env::var_os(CHILD).is_some() {
            let mut protocol = super::take().unwrap();
            std::io::stdout().write_all(b"stray\n").unwrap();
            protocol.write_all(b"protocol\n").unwrap();
            return;
        }
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "stdout::tests::stray_prints_go_to_standard_error"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(out.contains("protocol") && !out.contains("stray"), "{out}");
        assert!(err.contains("stray") && !err.contains("protocol"), "{err}");
    }
}
