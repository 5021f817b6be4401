//! `arena-luminal`: the contract's runner for luminal.

use std::process::ExitCode;

fn main() -> ExitCode {
    arena_runner::keep_freed_pages();
    arena_runner::main(&arena_luminal::Luminal)
}
