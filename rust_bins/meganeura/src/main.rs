//! `arena-meganeura`: the contract over meganeura on Vulkan.

use std::process::ExitCode;

fn main() -> ExitCode {
    arena_runner::main(&arena_meganeura::Meganeura)
}
