//! Golden cases, checked in process: what the gate asks of a runner, as one call in a cargo test.
//!
//! A case folder holds `config.json` (`architecture`, `config`, `float32_noise`), `weights.safetensors`,
//! `inputs.safetensors` and `expected.safetensors` (float64).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::architecture::input_names;
use crate::error::Result;
use crate::inputs::{Input, InputData, Inputs};
use crate::model::{Framework, LoadSpec, Model, Output, Program};
use crate::safetensor::TensorFile;
use crate::task::{Boundary, Optimizer, Task};
use crate::weights::Weights;

/// A tensor may be this many times as far from the reference as float32 `PyTorch` is...
const NOISE_FACTOR: f64 = 8.0;
/// ...plus this much.
const FLOOR: f64 = 1e-6;
/// The smallest scale of a tensor, as a share of the pooled root mean square of its group.
const SMALLEST_SCALE: f64 = 1e-3;
/// How many of the worst tensors a failure names.
const WORST_SHOWN: usize = 8;

/// `config.json` of a case.
#[derive(Deserialize)]
struct CaseConfig {
    architecture: String,
    config: Map<String, Value>,
    float32_noise: BTreeMap<String, f64>,
}

/// How far a runner's tensors are from the reference.
#[derive(Debug, Clone)]
pub struct Report {
    /// The case and the task.
    pub title: String,
    /// The largest error that passes.
    pub limit: f64,
    /// The normalised root-mean-square error of every tensor, the worst first.
    pub errors: Vec<(String, f64)>,
}

impl Report {
    /// The worst tensor and its error.
    pub fn worst(&self) -> (&str, f64) {
        self.errors.first().map_or(("none", 0.0), |(name, error)| (name, *error))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: limit {:.3e}, {} tensors, worst:", self.title, self.limit, self.errors.len())?;
        self.errors.iter().take(WORST_SHOWN).try_for_each(|(name, error)| write!(f, "\n  {error:.3e} {name}"))
    }
}

/// Computes `task` (`infer` or `train`) of the case in `case_dir` and compares every tensor with the reference. The
/// program is prepared and executed on other values first, so that nothing kept from there can pass.
///
/// # Panics
/// When the case cannot be read or computed, a tensor is missing or one too many, or an error exceeds the limit.
pub fn check(framework: &dyn Framework, backend: &str, case_dir: &Path, task: &str) -> Report {
    let case = Case::open(case_dir);
    let task = match task {
        "infer" => Task::Infer,
        "train" => Task::Train,
        other => panic!("golden cases hold what `infer` and `train` expect, not `{other}`"),
    };
    let model = case.load(framework, backend);
    let mut program = case.prepare_elsewhere(model.as_ref(), &task);
    let actual = execute(program.as_mut(), &case.inputs(&task));
    let expected = match task {
        Task::Infer => case.expected(|name| name != "loss" && !name.starts_with("grad.")),
        _ => case.expected(|name| name == "loss" || name.starts_with("grad.")),
    };
    case.compare(&task, &actual, &expected)
}

/// Executes one `step` of the case in `case_dir` and compares the new parameters with those that the optimizer's
/// definition makes, in float64, of the runner's own gradients. (Those are checked by `train`; the reference's would
/// not do, because `AdamW`'s first step divides each gradient by its own magnitude, so that noise around a gradient of
/// zero becomes as large as the step.)
///
/// # Panics
/// As [`check`].
pub fn check_step(framework: &dyn Framework, backend: &str, case_dir: &Path, optimizer: &Optimizer) -> Report {
    let case = Case::open(case_dir);
    let inputs = case.inputs(&Task::Train);
    let model = case.load(framework, backend);
    let mut train = model.prepare(&Task::Train, &inputs).unwrap_or_else(|e| panic!("{}: prepare: {e}", case.title));
    let gradients = execute(train.as_mut(), &inputs);
    drop(train);
    let task = Task::Step(optimizer.clone());
    let mut program = model.prepare(&task, &inputs).unwrap_or_else(|e| panic!("{}: prepare: {e}", case.title));
    let actual = execute(program.as_mut(), &inputs);
    let weights = TensorFile::open(&case_dir.join("weights.safetensors")).unwrap_or_else(|e| panic!("{e}"));
    let mut expected = BTreeMap::new();
    expected.insert("loss".to_owned(), gradients["loss"].clone());
    for (name, gradient) in gradients {
        let Some(parameter) = name.strip_prefix("grad.") else { continue };
        let before = weights.get(parameter).and_then(|raw| raw.to_f32()).unwrap_or_else(|| panic!("no {parameter}"));
        let after = before.iter().zip(&gradient.values).map(|(&p, &g)| first_step(optimizer, f64::from(p), g));
        expected.insert(format!("param.{parameter}"), Tensor { shape: gradient.shape, values: after.collect() });
    }
    case.compare(&task, &actual, &expected)
}

/// `PyTorch`'s definitions of the first step (`torch.optim.SGD`, `torch.optim.AdamW`): moments start at zero, so that
/// the corrected ones are the gradient and its square.
fn first_step(optimizer: &Optimizer, parameter: f64, gradient: f64) -> f64 {
    match *optimizer {
        Optimizer::Sgd { lr } => parameter - lr * gradient,
        Optimizer::AdamW { lr, eps, weight_decay, .. } => {
            parameter * (1.0 - lr * weight_decay) - lr * gradient / (gradient.abs() + eps)
        }
    }
}

/// Values in float64, row-major.
#[derive(Debug, Clone)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f64>,
}

type Tensors = BTreeMap<String, Tensor>;

struct Case {
    title: String,
    config: CaseConfig,
    inputs: Inputs,
    weights: Weights,
    expected: TensorFile,
}

impl Case {
    fn open(dir: &Path) -> Self {
        let title = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read(dir.join("config.json")).unwrap_or_else(|e| panic!("{title}: config.json: {e}"));
        let config = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{title}: config.json: {e}"));
        let expected = TensorFile::open(&dir.join("expected.safetensors")).unwrap_or_else(|e| panic!("{title}: {e}"));
        let inputs = Inputs::read(&dir.join("inputs.safetensors")).unwrap_or_else(|e| panic!("{title}: {e}"));
        let weights = Weights::open(&dir.join("weights.safetensors")).unwrap_or_else(|e| panic!("{title}: {e}"));
        Self { title, config, inputs, weights, expected }
    }

    fn load(&self, framework: &dyn Framework, backend: &str) -> Box<dyn Model> {
        let spec = LoadSpec {
            architecture: self.config.architecture.clone(),
            config: self.config.config.clone(),
            backend: backend.into(),
            precision: "f32".into(),
            threads: std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2),
        };
        framework.load(&spec, &self.weights).unwrap_or_else(|e| panic!("{}: load: {e}", self.title))
    }

    fn inputs(&self, task: &Task) -> Inputs {
        let names = input_names(&self.config.architecture, task).unwrap_or_else(|| panic!("{}: unknown", self.title));
        self.inputs.clone().only(&names)
    }

    fn prepare_elsewhere(&self, model: &dyn Model, task: &Task) -> Box<dyn Program> {
        let elsewhere = self.inputs(task).changed();
        let attempt = || -> Result<Box<dyn Program>> {
            let mut program = model.prepare(task, &elsewhere)?;
            program.execute(Boundary::Host)?;
            Ok(program)
        };
        attempt().unwrap_or_else(|e| panic!("{}: prepare {}: {e}", self.title, task.name()))
    }

    fn expected(&self, wanted: impl Fn(&str) -> bool) -> Tensors {
        let names = self.expected.names().into_iter().filter(|name| wanted(name));
        names
            .map(|name| {
                let raw = self.expected.get(&name).unwrap_or_else(|| panic!("{name} is in the header"));
                let values = raw.to_f64().unwrap_or_else(|| panic!("{}: {name} is not f64", self.title));
                (name, Tensor { shape: raw.info.shape.clone(), values })
            })
            .collect()
    }

    fn compare(&self, task: &Task, actual: &Tensors, expected: &Tensors) -> Report {
        let names = |tensors: &Tensors| tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(actual), names(expected), "{}: names of the outputs", self.title);
        let noise = match task {
            Task::Infer => {
                names(expected).iter().filter_map(|name| self.config.float32_noise.get(name)).copied().next()
            }
            _ => self.config.float32_noise.get("max").copied(),
        };
        let noise = noise.unwrap_or_else(|| panic!("{}: config.json has no noise of this task", self.title));
        let mut pooled: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (name, tensor) in expected {
            let (sum, count) = pooled.entry(group(name)).or_default();
            *sum += tensor.values.iter().map(|v| v * v).sum::<f64>();
            *count += tensor.values.len();
        }
        let mut errors: Vec<_> = expected
            .iter()
            .map(|(name, reference)| {
                let (sum, count) = pooled[group(name)];
                let smallest = SMALLEST_SCALE * (sum / count.max(1) as f64).sqrt();
                (name.clone(), normalised_error(&self.title, name, &actual[name], reference, smallest))
            })
            .collect();
        errors.sort_by(|a, b| b.1.total_cmp(&a.1));
        let title = format!("{} {}", self.title, task.name());
        let report = Report { title, limit: NOISE_FACTOR * noise + FLOOR, errors };
        assert!(report.errors.iter().all(|(_, error)| *error <= report.limit), "{report}");
        report
    }
}

/// Tensors are pooled by what they are.
fn group(name: &str) -> &str {
    match name.split_once('.') {
        Some((kind @ ("grad" | "param"), _)) => kind,
        _ if name == "loss" => "loss",
        _ => "outputs",
    }
}

fn normalised_error(title: &str, name: &str, actual: &Tensor, reference: &Tensor, smallest: f64) -> f64 {
    assert_eq!(actual.shape, reference.shape, "{title}: shape of `{name}`");
    let mean_square = |sum: f64| (sum / reference.values.len().max(1) as f64).sqrt();
    let distance = mean_square(actual.values.iter().zip(&reference.values).map(|(a, r)| (a - r) * (a - r)).sum());
    let scale = mean_square(reference.values.iter().map(|r| r * r).sum()).max(smallest);
    if distance == 0.0 { 0.0 } else { distance / scale }
}

fn execute(program: &mut dyn Program, inputs: &Inputs) -> Tensors {
    let mut attempt = || -> Result<Tensors> {
        program.bind(inputs)?;
        program.execute(Boundary::Host)?;
        program.outputs()?.iter().map(read).collect()
    };
    attempt().unwrap_or_else(|e| panic!("{e}"))
}

fn read(output: &Output<'_>) -> Result<(String, Tensor)> {
    let values: Vec<f64> = output.read_f32()?.iter().map(|&value| value.into()).collect();
    assert_eq!(values.len(), output.shape.iter().product::<usize>(), "values of `{}`", output.name);
    Ok((output.name.clone(), Tensor { shape: output.shape.clone(), values }))
}

impl Inputs {
    /// Other values of the same names, types and shapes, and as valid: ids in reverse order, real values halved.
    fn changed(self) -> Self {
        self.map(|input| Input {
            data: match input.data {
                InputData::I64(ids) => InputData::I64(ids.into_iter().rev().collect()),
                InputData::F32(values) => InputData::F32(values.into_iter().map(|value| value * 0.5).collect()),
            },
            ..input
        })
    }
}
