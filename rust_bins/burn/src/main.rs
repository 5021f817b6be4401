//! `arena-burn`: the arena's runner on burn.

mod memory;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    arena_runner::main(&arena_burn::Burn)
}
