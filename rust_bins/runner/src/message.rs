//! The messages of the contract: a line in, a request; an outcome, a line out.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::CONTRACT;
use crate::error::{Code, Error, Result};
use crate::model::Description;
use crate::task::{Boundary, Optimizer, Task};

/// A request and what it is answered under.
pub struct Message {
    /// The `id`, when the line has one that is an integer.
    pub id: Option<Number>,
    /// What is asked for, or why that cannot be told.
    pub request: Result<Request>,
}

/// What is asked for.
#[derive(Debug)]
pub enum Request {
    /// Build a model from a weights file.
    Load(Load),
    /// Compile a task for the shapes of the inputs, then execute once.
    Prepare(Prepare),
    /// Execute again.
    Run(Run),
    /// Take other input values.
    Bind(Bind),
    /// Write the outputs of the latest execution.
    Outputs(Outputs),
    /// Tell the peak of memory.
    Usage,
    /// Answer and exit.
    Shutdown,
}

/// The fields of `load`.
#[derive(Debug, Deserialize)]
pub struct Load {
    pub model: ModelSpec,
    pub weights: String,
    pub backend: String,
    pub precision: String,
    pub threads: usize,
}

/// An architecture and its public configuration.
#[derive(Debug, Deserialize)]
pub struct ModelSpec {
    pub architecture: String,
    pub config: Map<String, Value>,
}

/// The fields of `prepare`.
#[derive(Debug, Deserialize)]
pub struct Prepare {
    pub task: TaskName,
    pub inputs: String,
    #[serde(default)]
    pub options: TaskOptions,
}

/// The names of the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskName {
    Infer,
    Decode,
    Train,
    Step,
}

/// The options of `prepare`; which are needed depends on the task.
#[derive(Debug, Default, Deserialize)]
pub struct TaskOptions {
    #[serde(default)]
    pub new_tokens: Option<usize>,
    #[serde(default)]
    pub optimizer: Option<Optimizer>,
}

/// The fields of `run`.
#[derive(Debug, Deserialize)]
pub struct Run {
    pub iterations: u64,
    pub boundary: Boundary,
}

/// The fields of `bind`.
#[derive(Debug, Deserialize)]
pub struct Bind {
    pub inputs: String,
}

/// The fields of `outputs`.
#[derive(Debug, Deserialize)]
pub struct Outputs {
    pub path: String,
    #[serde(default)]
    pub names: Option<Vec<String>>,
}

impl Message {
    /// Reads one line; whatever it holds, there is a message to answer.
    pub fn parse(line: &[u8]) -> Self {
        let mut map: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(map) => map,
            Err(e) => {
                return Self { id: None, request: Err(Error::invalid_request(format!("not a JSON object: {e}"))) };
            }
        };
        match map.remove("id") {
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Self { id: Some(id), request: Request::read(map) },
            Some(other) => {
                Self { id: None, request: Err(Error::invalid_request(format!("field `id` = {other} is no integer"))) }
            }
            None => Self { id: None, request: Err(Error::invalid_request("field `id` is missing")) },
        }
    }
}

impl Request {
    fn read(mut map: Map<String, Value>) -> Result<Self> {
        let op = match map.remove("op") {
            Some(Value::String(op)) => op,
            Some(other) => return Err(Error::invalid_request(format!("field `op` = {other} is no string"))),
            None => return Err(Error::invalid_request("field `op` is missing")),
        };
        match op.as_str() {
            "load" => {
                let load: Load = fields(&op, map)?;
                if load.threads == 0 {
                    return Err(Error::invalid_request("load: field `threads` is 0, expected at least 1"));
                }
                Ok(Self::Load(load))
            }
            "prepare" => fields(&op, map).map(Self::Prepare),
            "run" => {
                let run: Run = fields(&op, map)?;
                if run.iterations == 0 {
                    return Err(Error::invalid_request("run: field `iterations` is 0, expected at least 1"));
                }
                Ok(Self::Run(run))
            }
            "bind" => fields(&op, map).map(Self::Bind),
            "outputs" => fields(&op, map).map(Self::Outputs),
            "usage" => fields::<IgnoredAny>(&op, map).map(|_| Self::Usage),
            "shutdown" => fields::<IgnoredAny>(&op, map).map(|_| Self::Shutdown),
            _ => Err(Error::unknown_op(format!("unknown op `{op}`"))),
        }
    }
}

impl Prepare {
    /// The task with its options.
    ///
    /// # Errors
    /// `invalid_request` when an option that the task needs is missing or out of range.
    pub fn task(&self) -> Result<Task> {
        let missing = |option| Error::invalid_request(format!("prepare: field `options.{option}` is missing"));
        Ok(match self.task {
            TaskName::Infer => Task::Infer,
            TaskName::Train => Task::Train,
            TaskName::Decode => match self.options.new_tokens.ok_or_else(|| missing("new_tokens"))? {
                0 => {
                    return Err(Error::invalid_request(
                        "prepare: field `options.new_tokens` is 0, expected at least 1",
                    ));
                }
                new_tokens => Task::Decode { new_tokens },
            },
            TaskName::Step => Task::Step(self.options.optimizer.clone().ok_or_else(|| missing("optimizer"))?),
        })
    }
}

fn fields<T: DeserializeOwned>(op: &str, map: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(map)).map_err(|e| Error::invalid_request(format!("{op}: {e}")))
}

/// One answer line.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Done.
    Ok { id: Option<Number>, ok: Done },
    /// Not done.
    Error { id: Option<Number>, error: Problem },
}

/// What a request brought, by its operation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    Loaded {
        load_ns: u64,
        parameters: u64,
        parameter_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    Prepared {
        prepare_ns: u64,
        first_ns: u64,
    },
    Samples {
        samples_ns: Vec<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        first_token_ns: Option<Vec<u64>>,
    },
    Written {
        tensors: usize,
    },
    Usage {
        peak_rss_bytes: u64,
        device_bytes: Option<u64>,
    },
    Empty {},
}

/// Why a request was not done.
#[derive(Serialize)]
pub struct Problem {
    pub code: Code,
    pub message: String,
}

impl Answer {
    /// The answer to the request of that id.
    pub fn new(id: Option<Number>, outcome: Result<Done>) -> Self {
        match outcome {
            Ok(ok) => Self::Ok { id, ok },
            Err(error) => Self::Error { id, error: Problem { code: error.code, message: error.message } },
        }
    }
}

/// The description as it is printed: with the contract's version.
#[derive(Serialize)]
pub struct Described<'a> {
    contract: u32,
    #[serde(flatten)]
    description: &'a Description,
}

impl<'a> Described<'a> {
    /// Adds the contract's version.
    pub fn new(description: &'a Description) -> Self {
        Self { contract: CONTRACT, description }
    }
}

/// The first line of `serve`.
#[derive(Serialize)]
pub struct Ready<'a> {
    event: &'static str,
    #[serde(flatten)]
    described: Described<'a>,
}

impl<'a> Ready<'a> {
    /// The event with the description.
    pub fn new(description: &'a Description) -> Self {
        Self { event: "ready", described: Described::new(description) }
    }
}
