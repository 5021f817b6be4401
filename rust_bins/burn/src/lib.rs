//! The arena's runner on burn: which backends this build has, and the table of architectures.

mod backend;
mod decode;
mod llama;
mod ops;
mod optimizer;
mod parameters;
mod program;
mod unet2d_condition;
mod whisper;

use std::rc::Rc;

use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Description, Error, Framework, FrameworkVersion, LoadSpec, Model, Result, Weights, build_info};

use burn::tensor::Device;

use crate::llama::Llama;
use crate::parameters::{Store, Table};
use crate::program::{Architecture, Loaded};
use crate::unet2d_condition::UNet2DCondition;
use crate::whisper::Whisper;

/// burn, on the backends of this build.
pub struct Burn;

/// The version that `Cargo.toml` pins.
const VERSION: &str = "0.22.1";

const GENERATIVE: &[&str] = &["infer", "decode", "train", "step"];

impl Framework for Burn {
    fn description(&self) -> Description {
        let tasks = |tasks: &[&str]| tasks.iter().map(|&task| task.to_owned()).collect();
        Description {
            runner: "burn".into(),
            framework: FrameworkVersion { name: "burn".into(), version: VERSION.into() },
            backends: backend::all(),
            architectures: [
                ("llama".to_owned(), tasks(GENERATIVE)),
                ("unet2d-condition".to_owned(), tasks(&["infer", "train", "step"])),
                ("whisper".to_owned(), tasks(GENERATIVE)),
            ]
            .into(),
            own_kernels: Vec::new(),
            build: build_info(backend::FEATURES),
        }
    }

    fn load(&self, spec: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>> {
        let device = backend::device(spec)?;
        match spec.architecture.as_str() {
            "llama" => load::<Llama>(LlamaConfig::parse(&spec.config)?, llama::table, weights, device),
            "unet2d-condition" => load::<UNet2DCondition>(
                UNet2DConditionConfig::parse(&spec.config)?,
                unet2d_condition::table,
                weights,
                device,
            ),
            "whisper" => load::<Whisper>(WhisperConfig::parse(&spec.config)?, whisper::table, weights, device),
            other => Err(Error::unsupported(format!("architecture `{other}` is not supported"))),
        }
    }
}

fn load<A: Architecture>(
    config: A::Config,
    table: impl Fn(&A::Config) -> Table,
    weights: &Weights,
    device: Device,
) -> Result<Box<dyn Model>> {
    let store = Rc::new(Store::load(table(&config), weights, &device)?);
    Ok(Box::new(Loaded::<A> { config: Rc::new(config), store, device }))
}
