//! The arena's runner on burn: which backends this build has, and the table of architectures.

mod backend;
mod decode;
mod llama;
mod ops;
mod optimizer;
mod parameters;
mod program;
mod resnet;
mod smolvla_expert;
mod unet2d_condition;
mod whisper;

use std::rc::Rc;

use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::architecture::resnet::ResNetConfig;
use arena_runner::architecture::smolvla_expert::SmolVlaExpertConfig;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Description, Error, Framework, FrameworkVersion, LoadSpec, Model, Result, Weights, build_info};

use burn::tensor::Device;

use crate::llama::Llama;
use crate::parameters::{Store, Table};
use crate::program::{Architecture, Loaded};
use crate::resnet::ResNet;
use crate::smolvla_expert::SmolVlaExpert;
use crate::unet2d_condition::UNet2DCondition;
use crate::whisper::Whisper;

/// burn, on the backends of this build.
pub struct Burn;

/// The version that `Cargo.toml` pins.
const VERSION: &str = "0.22.1";

const PLAIN: &[&str] = &["infer", "train", "step"];
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
                ("resnet".to_owned(), tasks(PLAIN)),
                ("smolvla-expert".to_owned(), tasks(PLAIN)),
                ("unet2d-condition".to_owned(), tasks(PLAIN)),
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
            "resnet" => load::<ResNet>(ResNetConfig::parse(&spec.config)?, resnet::table, weights, device),
            "smolvla-expert" => {
                load::<SmolVlaExpert>(SmolVlaExpertConfig::parse(&spec.config)?, smolvla_expert::table, weights, device)
            }
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
