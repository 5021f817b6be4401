//! The runner: what it declares and how it loads a model.

use std::collections::BTreeMap;

use arena_runner::{
    Backend, Description, Error, Framework, FrameworkVersion, LoadSpec, Model, Result, Weights, build_info, threads,
};

use crate::llama::Llama;
use crate::model::Loaded;
use crate::ops::OWN_KERNELS;
use crate::resnet::ResNet;
use crate::smolvla_expert::SmolVlaExpert;
use crate::unet2d_condition::UNet2DCondition;
use crate::whisper::Whisper;

/// luminal on the CPU.
pub struct Luminal;

/// The architectures and their tasks.
const ARCHITECTURES: &[(&str, &[&str])] = &[
    ("llama", &["infer", "decode", "train", "step"]),
    ("resnet", &["infer", "train", "step"]),
    ("smolvla-expert", &["infer", "train", "step"]),
    ("unet2d-condition", &["infer", "train", "step"]),
    ("whisper", &["infer", "decode", "train", "step"]),
];

impl Framework for Luminal {
    fn description(&self) -> Description {
        let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        Description {
            runner: "luminal".into(),
            framework: FrameworkVersion { name: "luminal".into(), version: "0.2.0".into() },
            backends: vec![Backend { id: "cpu".into(), device: "cpu".into(), precisions: vec!["f32".into()] }],
            architectures: ARCHITECTURES
                .iter()
                .map(|(name, tasks)| (name.to_string(), strings(tasks)))
                .collect::<BTreeMap<_, _>>(),
            own_kernels: strings(OWN_KERNELS),
            build: build_info(&["cpu"]),
        }
    }

    fn load(&self, spec: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>> {
        self.description().check_backend(&spec.backend, &spec.precision)?;
        threads::configure(spec.threads)?;
        Ok(Box::new(match spec.architecture.as_str() {
            "llama" => Loaded::new(Llama::load(&spec.config)?, weights)?,
            "resnet" => Loaded::new(ResNet::load(&spec.config)?, weights)?,
            "smolvla-expert" => Loaded::new(SmolVlaExpert::load(&spec.config)?, weights)?,
            "unet2d-condition" => Loaded::new(UNet2DCondition::load(&spec.config)?, weights)?,
            "whisper" => Loaded::new(Whisper::load(&spec.config)?, weights)?,
            other => return Err(Error::unsupported(format!("architecture `{other}` is not supported"))),
        }))
    }
}
