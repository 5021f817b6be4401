//! The runner side of the contract (`docs/contract.md`).
//!
//! A runner is a [`Framework`] and one line: `fn main() -> ExitCode { arena_runner::main(&Candle) }`. This crate owns
//! the protocol, the clock, files, memory figures and errors; the runner owns the mathematics.

pub mod architecture;
mod error;
mod inputs;
mod model;
mod task;
mod weights;

pub use error::{Code, Error, Result};
pub use inputs::{Input, InputData, Inputs};
pub use model::{
    Backend, Build, Description, Execution, Framework, FrameworkVersion, LoadSpec, Model, Output, OutputData,
    Parameters, Program,
};
pub use task::{Boundary, Optimizer, Task};
pub use weights::Weights;

/// The contract's version.
pub const CONTRACT: u32 = 1;
