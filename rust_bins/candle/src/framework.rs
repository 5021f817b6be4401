//! What this runner is, and how it loads a model.

use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::architecture::resnet::ResNetConfig;
use arena_runner::architecture::smolvla_expert::SmolVlaExpertConfig;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{
    Description, Error, Framework, FrameworkVersion, Inputs, LoadSpec, Model, Parameters, Program, Result, Task,
    Weights, build_info,
};
use candle_core::utils::get_num_threads;
use serde_json::{Map, Value};

use crate::device;
use crate::network::{Architecture, internal};
use crate::program;
use crate::store::{Gradients, Store};

/// Candle, on the devices of this build.
pub struct Candle;

type Parse = fn(&Map<String, Value>) -> Result<Box<dyn Architecture>>;

/// The architectures: name, tasks, how the public configuration is read.
const ARCHITECTURES: &[(&str, &[&str], Parse)] = &[
    ("llama", GENERATES, |config| Ok(Box::new(LlamaConfig::parse(config)?))),
    ("resnet", COMPUTES, |config| Ok(Box::new(ResNetConfig::parse(config)?))),
    ("smolvla-expert", COMPUTES, |config| Ok(Box::new(SmolVlaExpertConfig::parse(config)?))),
    ("unet2d-condition", COMPUTES, |config| Ok(Box::new(UNet2DConditionConfig::parse(config)?))),
    ("whisper", GENERATES, |config| Ok(Box::new(WhisperConfig::parse(config)?))),
];

const COMPUTES: &[&str] = &["infer", "train", "step"];
const GENERATES: &[&str] = &["infer", "decode", "train", "step"];

impl Framework for Candle {
    fn description(&self) -> Description {
        Description {
            runner: "candle".into(),
            framework: FrameworkVersion { name: "candle".into(), version: "0.11.1".into() },
            backends: device::backends(),
            architectures: ARCHITECTURES
                .iter()
                .map(|(name, tasks, _)| ((*name).into(), tasks.iter().map(|&task| task.into()).collect()))
                .collect(),
            own_kernels: vec![],
            build: build_info(device::FEATURES),
        }
    }

    fn load(&self, spec: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>> {
        check_threads(spec.threads)?;
        let (.., parse) = ARCHITECTURES
            .iter()
            .find(|(name, ..)| *name == spec.architecture)
            .ok_or_else(|| Error::unsupported(format!("architecture `{}`", spec.architecture)))?;
        let architecture = parse(&spec.config)?;
        let device = device::open(&spec.backend, &spec.precision)?;
        let store = Store::load(&architecture.parameters(), weights, &device)?;
        Ok(Box::new(CandleModel { architecture, store }))
    }
}

/// Candle takes the size of its pools from the environment, at their first use: it can only be checked here.
fn check_threads(threads: usize) -> Result<()> {
    match get_num_threads() {
        found if found == threads && std::env::var_os("CANDLE_NUM_THREADS").is_none() => Ok(()),
        found => Err(Error::unsupported(format!(
            "{threads} threads: this process runs {found}, start another with RAYON_NUM_THREADS={threads} \
             and without CANDLE_NUM_THREADS"
        ))),
    }
}

struct CandleModel {
    architecture: Box<dyn Architecture>,
    store: Store,
}

impl Model for CandleModel {
    fn parameters(&self) -> Parameters {
        self.store.size()
    }

    fn device(&self) -> Option<String> {
        device::name(self.store.device())
    }

    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        let gradients = if task.has_loss() { Gradients::Tracked } else { Gradients::None };
        let network = self.architecture.network(&self.store.view(gradients)).map_err(internal)?;
        program::prepare(network, &self.store, task, inputs)
    }
}
