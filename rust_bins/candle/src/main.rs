//! `arena-candle`: the runner on candle.

use std::process::ExitCode;

fn main() -> ExitCode {
    arena_runner::keep_freed_pages();
    arena_runner::main(&arena_candle::Candle)
}
