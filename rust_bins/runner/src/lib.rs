//! The runner side of the contract (`docs/contract.md`).
//!
//! A runner is a [`Framework`] and one line: `fn main() -> ExitCode { arena_runner::main(&Candle) }`. This crate owns
//! the protocol, the clock, files, memory figures and errors; the runner owns the mathematics.

pub mod architecture;
mod build_info;
mod cli;
mod error;
#[cfg(feature = "golden")]
pub mod golden;
mod inputs;
mod line;
mod memory;
mod message;
mod model;
mod outputs;
mod safetensor;
mod serve;
mod stdout;
mod task;
#[cfg(feature = "rayon")]
pub mod threads;
mod weights;

pub use build_info::build_info;
pub use cli::main;
pub use error::{Code, Error, Result};
pub use inputs::{Input, InputData, Inputs};
pub use memory::keep_freed_pages;
pub use model::{
    Backend, Build, Description, Execution, Framework, FrameworkVersion, LoadSpec, Model, Output, OutputData,
    Parameters, Program,
};
pub use serve::serve;
pub use task::{Boundary, Optimizer, Task};
pub use weights::Weights;

/// The contract's version.
pub const CONTRACT: u32 = 1;
