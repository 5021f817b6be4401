//! A framework so small that its numbers can be told by heart, and folders of files for it.

use std::path::{Path, PathBuf};

use arena_runner::{
    Backend, Boundary, Description, Error, Execution, Framework, FrameworkVersion, Inputs, LoadSpec, Model, Output,
    Parameters, Program, Result, Task, Weights, build_info, serve,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// `logits` are the ids times the only weight; an id of 99 is out of range.
pub struct Toy;

struct ToyModel {
    scale: f32,
}

struct ToyProgram {
    scale: f32,
    ids: Vec<i64>,
    logits: Vec<f32>,
}

impl Framework for Toy {
    fn description(&self) -> Description {
        Description {
            runner: "toy".into(),
            framework: FrameworkVersion { name: "toy".into(), version: "1".into() },
            backends: vec![Backend { id: "cpu".into(), device: "any".into(), precisions: vec!["f32".into()] }],
            architectures: [("llama".to_owned(), vec!["infer".to_owned()])].into(),
            own_kernels: vec![],
            build: build_info(&["cpu"]),
        }
    }

    fn load(&self, _: &LoadSpec, weights: &Weights) -> Result<Box<dyn Model>> {
        Ok(Box::new(ToyModel { scale: weights.f32("scale", &[])?[0] }))
    }
}

impl Model for ToyModel {
    fn parameters(&self) -> Parameters {
        Parameters { count: 1, bytes: 4 }
    }

    fn prepare(&self, _: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        Ok(Box::new(ToyProgram { scale: self.scale, ids: inputs.i64("input_ids")?.1.to_vec(), logits: vec![] }))
    }
}

impl Program for ToyProgram {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.ids = inputs.i64("input_ids")?.1.to_vec();
        Ok(())
    }

    fn execute(&mut self, _: Boundary) -> Result<Execution> {
        if let Some(at) = self.ids.iter().position(|&id| id == 99) {
            return Err(Error::invalid_inputs(format!("input `input_ids`: id 99 at {at} is outside 0..99")));
        }
        self.logits = self.ids.iter().map(|&id| id as f32 * self.scale).collect();
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let shape = [self.logits.len()];
        Ok(vec![
            Output::f32("logits", &shape, &self.logits[..]),
            Output::i64("ids", &shape, &self.ids[..]),
            Output::lazy("lazy", &shape, || Ok(self.logits.clone())),
        ])
    }
}

/// A folder with a weights file (`scale` = 2) and inputs files to serve the toy from.
pub struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self { folder: TempDir::new().expect("a temporary folder") };
        fixture.write("weights", &[("scale", Dtype::F32, &[], &2f32.to_le_bytes())]);
        fixture.ids("inputs", &[1, 2, 3]);
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
        let views = tensors.iter().map(|&(name, dtype, shape, bytes)| {
            (name, TensorView::new(dtype, shape.to_vec(), bytes).expect("bytes that fit the shape"))
        });
        safetensors::serialize_to_file(views, None, &self.path(name)).expect("a writable folder");
    }

    pub fn ids(&self, name: &str, ids: &[i64]) {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.write(name, &[("input_ids", Dtype::I64, &[ids.len()], &bytes)]);
    }

    pub fn load(&self) -> Value {
        json!({"op": "load", "model": {"architecture": "llama", "config": {}}, "weights": self.path("weights"),
               "backend": "cpu", "precision": "f32", "threads": 1})
    }

    pub fn prepare(&self, inputs: &str) -> Value {
        json!({"op": "prepare", "task": "infer", "inputs": self.path(inputs), "options": {}})
    }

    pub fn bind(&self, inputs: &str) -> Value {
        json!({"op": "bind", "inputs": self.path(inputs)})
    }

    pub fn outputs(&self, names: &Value) -> Value {
        json!({"op": "outputs", "path": self.path("outputs"), "names": names})
    }
}

/// `run` once.
pub fn run() -> Value {
    json!({"op": "run", "iterations": 1, "boundary": "host"})
}

/// The toy's answers to requests, which get the ids 0, 1, …; the ready line is checked and taken off.
pub fn converse(requests: &[Value]) -> Vec<Value> {
    let mut lines = Vec::new();
    for (id, request) in requests.iter().enumerate() {
        let mut request = request.clone();
        request["id"] = json!(id);
        lines.extend(request.to_string().into_bytes());
        lines.push(b'\n');
    }
    let answers = raw(&lines);
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer["id"], json!(id));
    }
    answers
}

/// The toy's answers to bytes, without the ready line.
pub fn raw(input: &[u8]) -> Vec<Value> {
    let mut output = Vec::new();
    serve(&Toy, input, &mut output).expect("buffers do not fail");
    let mut lines = output.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(lines.pop(), Some(vec![]), "every line ends with a newline");
    let mut answers = lines.iter().map(|line| serde_json::from_slice(line).expect("lines are JSON"));
    let ready: Value = answers.next().expect("a ready line");
    assert_eq!((&ready["event"], &ready["contract"]), (&json!("ready"), &json!(1)));
    answers.collect()
}

/// The code of an error answer.
pub fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{answer} is no error"))
}

/// The `f32` values of a tensor in a file.
pub fn values(path: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("an outputs file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = file.tensor(name).expect("the tensor");
    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
