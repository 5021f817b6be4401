//! The framework behind the contract: what it is, how a model is loaded, how a task is compiled.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arena_runner::architecture::Parameter;
use arena_runner::{
    Backend, Description, Error, Framework, FrameworkVersion, Inputs, LoadSpec, Model, Parameters, Program, Result,
    Task, Weights,
};
use blade_graphics::Context;
use meganeura::{CompileOptions, CoopPolicy, Session, SessionOptions};
use serde_json::{Map, Value};

use crate::architecture::Architecture;
use crate::decode::Decode;
use crate::device;
use crate::inference;
use crate::llama::Llama;
use crate::net::Net;
use crate::optimizer::Schedule;
use crate::profile;
use crate::program::{Compiled, Slot, Source, guard};
use crate::readback::Readback;
use crate::resnet::ResNet;
use crate::smolvla_expert::SmolVlaExpert;
use crate::store::Store;
use crate::training;
use crate::unet2d_condition::UNet2DCondition;
use crate::whisper::Whisper;

/// meganeura on Vulkan.
pub struct Meganeura;

type Parse = fn(&Map<String, Value>) -> Result<Rc<dyn Architecture>>;

/// The architectures, their tasks, and how each reads its configuration.
const ARCHITECTURES: &[(&str, &[&str], Parse)] = &[
    ("llama", &["infer", "decode", "train", "step"], |c| Ok(Rc::new(Llama::load(c)?))),
    ("resnet", &["infer", "train", "step"], |c| Ok(Rc::new(ResNet::load(c)?))),
    ("smolvla-expert", &["infer", "train", "step"], |c| Ok(Rc::new(SmolVlaExpert::load(c)?))),
    ("unet2d-condition", &["infer", "train", "step"], |c| Ok(Rc::new(UNet2DCondition::load(c)?))),
    ("whisper", &["infer", "decode", "train", "step"], |c| Ok(Rc::new(Whisper::load(c)?))),
];

impl Framework for Meganeura {
    fn description(&self) -> Description {
        let tasks = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Description {
            runner: "meganeura".into(),
            framework: FrameworkVersion { name: "meganeura".into(), version: "0.3.0".into() },
            backends: vec![Backend {
                id: "vulkan".into(),
                device: "the vulkan device found at load".into(),
                precisions: vec!["f32".into()],
            }],
            architectures: ARCHITECTURES.iter().map(|(name, names, _)| ((*name).to_owned(), tasks(names))).collect(),
            own_kernels: vec![],
            build: arena_runner::build_info(&[]),
        }
    }

    fn load(&self, spec: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>> {
        if spec.backend != "vulkan" {
            return Err(Error::unsupported(format!("backend `{}` is not built in, only `vulkan`", spec.backend)));
        }
        if spec.precision != "f32" {
            return Err(Error::unsupported(format!("precision `{}` is not supported, only `f32`", spec.precision)));
        }
        let Some((_, tasks, parse)) = ARCHITECTURES.iter().find(|(name, ..)| *name == spec.architecture) else {
            return Err(Error::unsupported(format!("architecture `{}` is not supported", spec.architecture)));
        };
        let architecture = parse(&spec.config)?;
        let gpu = device::open(spec.threads)?;
        let store = Rc::new(Store::load(&architecture.parameters(), weights)?);
        Ok(Box::new(Loaded { architecture, tasks, store, gpu }))
    }
}

/// A loaded model. The framework has no tensors outside a compiled session, so until `prepare` the parameters are on
/// the host.
struct Loaded {
    architecture: Rc<dyn Architecture>,
    tasks: &'static [&'static str],
    store: Rc<Store>,
    gpu: Arc<Context>,
}

impl Model for Loaded {
    fn parameters(&self) -> Parameters {
        self.store.size()
    }

    fn device(&self) -> Option<String> {
        Some(self.gpu.device_information().device_name.clone())
    }

    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        if !self.tasks.contains(&task.name()) {
            return Err(Error::unsupported(format!("task `{}` is not supported for this architecture", task.name())));
        }
        self.store.sync();
        if let Task::Decode { new_tokens } = task {
            let compile = |net: &Net| self.compile(net, None);
            let generative = Rc::clone(&self.architecture).generative();
            let generative = generative.expect("the table of architectures gives `decode` to generators only");
            let readback = Readback::new(&self.gpu);
            return Ok(Box::new(Decode::new(generative, inputs, *new_tokens, readback, compile)?));
        }
        let mut net = Net::new(&self.architecture.parameters(), *task != Task::Infer);
        let mut slots = Vec::new();
        let train = if *task == Task::Infer {
            let head = self.architecture.infer(&mut net, inputs)?;
            net.graph.set_outputs(vec![head.node]);
            slots.push(Slot { name: head.name.into(), source: Source::Head(head.shape) });
            None
        } else {
            let loss = self.architecture.train(&mut net, inputs)?;
            net.graph.set_outputs(vec![loss]);
            slots.push(Slot { name: "loss".into(), source: Source::Loss });
            let step = matches!(task, Task::Step(_));
            slots.extend(net.parameters().map(|name| tensor_slot(&net, name, step)));
            Some(Train { step })
        };
        let session = self.compile(&net, train)?;
        let optimizer = match task {
            Task::Step(optimizer) => Some(Schedule::new(optimizer.clone())),
            _ => None,
        };
        if optimizer.is_some() {
            self.store.follow(&session);
        }
        let mut program = Compiled {
            architecture: Rc::clone(&self.architecture),
            store: Rc::clone(&self.store),
            session,
            slots,
            labels: train.is_some(),
            optimizer,
            inputs: Inputs::default(),
            readback: Readback::new(&self.gpu),
            converted: Vec::new(),
            on_host: false,
        };
        program.bind(inputs)?;
        if program.optimizer.is_none() {
            let profiled = || profile::report(&mut program.session.borrow_mut(), task.name());
            guard("profile", profiled)?;
        }
        Ok(Box::new(program))
    }
}

/// What a graph with a loss is compiled for.
#[derive(Clone, Copy)]
struct Train {
    /// Whether the parameters are changed and read, and not the gradients.
    step: bool,
}

impl Loaded {
    /// Compiles the graph in exact float32, for inference or for training, and uploads the parameters.
    fn compile(&self, net: &Net, train: Option<Train>) -> Result<Rc<RefCell<Session>>> {
        guard("compilation", || {
            // No cooperative matrices: on most devices their operands are half precision.
            let options =
                CompileOptions { flash_forward_coop: false, flash_backward_coop: false, ..CompileOptions::default() };
            let runtime = SessionOptions { coop: CoopPolicy::Disabled, ..SessionOptions::default() };
            let gpu = Arc::clone(&self.gpu);
            let mut session = if let Some(Train { step }) = train {
                let mut plan = training::compile(&net.graph, &options);
                training::publish(&mut plan, net.parameters(), step);
                Session::with_context_opts(plan, gpu, runtime)
            } else {
                Session::with_context_opts(inference::compile(&net.graph, &options), gpu, runtime)
            };
            for name in net.parameters() {
                self.store.with(name, |values| session.set_parameter(name, values));
            }
            for (name, ids) in net.fixed_ids() {
                session.set_input_u32(name, ids);
            }
            for frozen in net.frozen_inputs() {
                let values = |values: &[f32]| values.iter().map(|&value| (frozen.map)(value)).collect::<Vec<_>>();
                session.set_input(&frozen.input, &self.store.with(&frozen.parameter, values));
            }
            Rc::new(RefCell::new(session))
        })
    }
}

fn tensor_slot(net: &Net, name: &str, step: bool) -> Slot {
    let parameter = Parameter::new(name, net.shape(name));
    if step {
        Slot { name: format!("param.{name}"), source: Source::Parameter(parameter) }
    } else {
        Slot { name: format!("grad.{name}"), source: Source::Gradient(parameter) }
    }
}
