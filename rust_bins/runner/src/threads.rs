//! Threads of frameworks that run on rayon.

use crate::error::{Error, Result};

/// Makes rayon's global pool have `threads` threads, once a process; later calls only check it.
///
/// # Errors
/// `unsupported` when the pool already exists with another number of threads: that needs another process, with
/// `RAYON_NUM_THREADS` set.
pub fn configure(threads: usize) -> Result<()> {
    // Building fails only when the pool exists: then the check below decides.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    match rayon::current_num_threads() {
        found if found == threads => Ok(()),
        found => Err(Error::unsupported(format!(
            "{threads} threads: this process already runs {found}, start another with RAYON_NUM_THREADS={threads}"
        ))),
    }
}
