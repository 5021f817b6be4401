//! What a runner implements: a [`Framework`] loads a [`Model`], a model prepares a [`Program`], a program executes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::inputs::Inputs;
use crate::task::{Boundary, Task};
use crate::weights::Weights;

/// A framework behind the contract: what it is, and how it loads a model.
pub trait Framework {
    /// The fields of the description that only the framework knows. Must not touch a device.
    fn description(&self) -> Description;

    /// Builds the model that `spec` names from `weights`.
    ///
    /// # Errors
    /// `unsupported`, `invalid_weights`, `device_unavailable`, `out_of_memory` or `internal`, as in the contract.
    fn load(&self, spec: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>>;
}

/// A loaded model: parameters on the device, in the framework's own form.
pub trait Model {
    /// Number of scalar parameters, and the bytes they take as loaded (tied ones once).
    fn parameters(&self) -> Parameters;

    /// Compiles the task for the shapes of `inputs`, without executing it; the caller executes once right after.
    /// The program shares the model's parameters: a `step` program changes them for every later one.
    ///
    /// # Errors
    /// `unsupported`, `invalid_inputs`, `out_of_memory` or `internal`.
    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>>;

    /// The device that computes, as its driver calls it, where it is not the host's processor.
    fn device(&self) -> Option<String> {
        None
    }

    /// Bytes in use on the device, where it is not the host and the framework tells.
    fn device_bytes(&self) -> Option<u64> {
        None
    }
}

/// A task compiled for fixed shapes.
pub trait Program {
    /// Takes other input values of the same names, types and shapes (the caller has checked that).
    ///
    /// # Errors
    /// `invalid_inputs` or `internal`.
    fn bind(&mut self, inputs: &Inputs) -> Result<()>;

    /// Executes once, from the bound inputs, and keeps the results for [`Program::outputs`]. Returns when the work is
    /// done: with [`Boundary::Host`] the outputs are in host memory, with [`Boundary::Device`] the device is idle.
    /// This is what the clock is around: no files, no logging, nothing cached from an earlier execution.
    ///
    /// # Errors
    /// `invalid_inputs` (ids out of range), `out_of_memory` or `internal`.
    fn execute(&mut self, boundary: Boundary) -> Result<Execution>;

    /// The outputs of the latest execution under their contract names (`logits`, `loss`, `grad.NAME`, ...), in any
    /// order. Data may be read lazily: it is written tensor by tensor.
    ///
    /// # Errors
    /// `internal`.
    fn outputs(&self) -> Result<Vec<Output<'_>>>;
}

/// What [`Program::execute`] learned while it ran.
#[derive(Debug, Clone, Copy, Default)]
pub struct Execution {
    /// `decode` only: from the start of the execution to the first new token.
    pub first_token: Option<Duration>,
}

/// One output tensor, row-major.
pub struct Output<'a> {
    /// The contract's name.
    pub name: String,
    /// The dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values.
    pub data: OutputData<'a>,
}

/// Where the values of an [`Output`] come from.
pub enum OutputData<'a> {
    /// Values at hand.
    F32(Cow<'a, [f32]>),
    /// Ids at hand.
    I64(Cow<'a, [i64]>),
    /// `f32` values read from the device when they are written, so that only one tensor is in memory at a time.
    LazyF32(Box<dyn Fn() -> Result<Vec<f32>> + 'a>),
}

impl<'a> Output<'a> {
    /// An output of values at hand.
    pub fn f32(name: impl Into<String>, shape: &[usize], data: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data: OutputData::F32(data.into()) }
    }

    /// An output of ids at hand.
    pub fn i64(name: impl Into<String>, shape: &[usize], data: impl Into<Cow<'a, [i64]>>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data: OutputData::I64(data.into()) }
    }

    /// An output that is read when it is written.
    pub fn lazy(name: impl Into<String>, shape: &[usize], read: impl Fn() -> Result<Vec<f32>> + 'a) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data: OutputData::LazyF32(Box::new(read)) }
    }
}

/// What to load, from the `load` request.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// `llama`, `smolvla-expert`, `unet2d-condition`, `resnet` or `whisper`.
    pub architecture: String,
    /// The architecture's public configuration.
    pub config: Map<String, Value>,
    /// A backend's `id` from the description.
    pub backend: String,
    /// `f32`, `tf32`, `f16` or `bf16`.
    pub precision: String,
    /// How many CPU threads to use: honoured or `unsupported`.
    pub threads: usize,
}

/// The size of a loaded model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Scalars.
    pub count: u64,
    /// Bytes as loaded.
    pub bytes: u64,
}

/// The runner's part of the description; [`crate::main`] adds the contract version.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// `candle`, `burn`, ...
    pub runner: String,
    /// The framework under test.
    pub framework: FrameworkVersion,
    /// What this build could use; whether the machine has it is found at `load`.
    pub backends: Vec<Backend>,
    /// The tasks of each architecture.
    pub architectures: BTreeMap<String, Vec<String>>,
    /// Every numeric kernel that the runner brings itself instead of the framework's.
    pub own_kernels: Vec<String>,
    /// How this executable was built.
    pub build: Build,
}

/// Name and version of the framework under test.
#[derive(Debug, Clone, Serialize)]
pub struct FrameworkVersion {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
}

/// One backend of a build.
#[derive(Debug, Clone, Serialize)]
pub struct Backend {
    /// `cpu`, `flex`, `vulkan`, ...
    pub id: String,
    /// The device's own name where it is known without touching it.
    pub device: String,
    /// The precisions that `load` accepts.
    pub precisions: Vec<String>,
}

/// How an executable was built.
#[derive(Debug, Clone, Serialize)]
pub struct Build {
    /// `rustc 1.95.0`.
    pub compiler: String,
    /// `release` or `debug`.
    pub profile: String,
    /// Enabled cargo features of the runner.
    pub features: Vec<String>,
}
