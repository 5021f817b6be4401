//! `arena-burn`: the arena's runner on burn.

use std::process::ExitCode;

fn main() -> ExitCode {
    arena_runner::keep_freed_pages();
    arena_runner::main(&arena_burn::Burn)
}
