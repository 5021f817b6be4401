//! The protocol loop: one request a line, one answer a line, in order.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::architecture;
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::line::{self, Line, MAX_LINE_BYTES};
use crate::memory;
use crate::message::{Answer, Bind, Done, Load, Message, Outputs, Prepare, Ready, Request, Run};
use crate::model::{Backend, Description, Framework, LoadSpec, Model, Program};
use crate::outputs;
use crate::task::Boundary;
use crate::weights::Weights;

/// Samples for which room is made before the first one; more are asked for rarely and cost no time inside a sample.
const MAX_RESERVED_SAMPLES: u64 = 1 << 16;

/// Answers `input` on `output` until `shutdown` or the end of the input. The ready line is printed first, before
/// anything is read.
///
/// # Errors
/// When `input` or `output` fails; what a request asks for never ends the loop.
pub fn serve(framework: &dyn Framework, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut session = Session { framework, description: framework.description(), loaded: None };
    send(&mut output, &Ready::new(&session.description))?;
    let mut line = Vec::new();
    loop {
        let message = match line::read(&mut input, &mut line)? {
            Line::End => return Ok(()),
            Line::Whole => Message::parse(&line),
            Line::TooLong => Message {
                id: None,
                request: Err(Error::invalid_request(format!("the line is longer than {MAX_LINE_BYTES} bytes"))),
            },
        };
        let stop = matches!(message.request, Ok(Request::Shutdown));
        let outcome = message.request.and_then(|request| session.answer(request));
        send(&mut output, &Answer::new(message.id, outcome))?;
        if stop {
            return Ok(());
        }
    }
}

fn send(output: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// What is loaded, and what is prepared on it.
struct Session<'a> {
    framework: &'a dyn Framework,
    description: Description,
    loaded: Option<Loaded>,
}

struct Loaded {
    architecture: String,
    // Before the model, so that it is dropped first.
    prepared: Option<Prepared>,
    model: Box<dyn Model>,
}

struct Prepared {
    program: Box<dyn Program>,
    /// The tensors that the task takes, as bound at `prepare`: the types and shapes that `bind` must keep.
    inputs: Inputs,
    names: Option<Vec<&'static str>>,
    /// Whether the latest execution succeeded, so that there are outputs.
    executed: bool,
}

impl Session<'_> {
    fn answer(&mut self, request: Request) -> Result<Done> {
        match request {
            Request::Load(load) => self.load(load),
            Request::Prepare(prepare) => self.prepare(&prepare),
            Request::Run(run) => self.prepared("run")?.run(&run),
            Request::Bind(bind) => self.prepared("bind")?.bind(&bind),
            Request::Outputs(outputs) => self.prepared("outputs")?.write(&outputs),
            Request::Usage => Ok(Done::Usage {
                peak_rss_bytes: memory::peak_rss_bytes()?,
                device_bytes: self.loaded.as_ref().and_then(|loaded| loaded.model.device_bytes()),
            }),
            Request::Shutdown => Ok(Done::Empty {}),
        }
    }

    fn load(&mut self, load: Load) -> Result<Done> {
        let Load { model, weights, backend, precision, threads } = load;
        self.description.check_backend(&backend, &precision)?;
        if !self.description.architectures.contains_key(&model.architecture) {
            return Err(Error::unsupported(format!(
                "architecture `{}` is not one of {}",
                model.architecture,
                listed(self.description.architectures.keys())
            )));
        }
        let spec = LoadSpec { architecture: model.architecture, config: model.config, backend, precision, threads };
        let start = Instant::now();
        let weights = Weights::open(Path::new(&weights))?;
        let model = self.framework.load(&spec, &weights)?;
        drop(weights);
        let load_ns = nanoseconds(start.elapsed());
        let (parameters, device) = (model.parameters(), model.device());
        self.loaded = Some(Loaded { architecture: spec.architecture, prepared: None, model });
        Ok(Done::Loaded { load_ns, parameters: parameters.count, parameter_bytes: parameters.bytes, device })
    }

    fn prepare(&mut self, prepare: &Prepare) -> Result<Done> {
        let task = prepare.task()?;
        let Some(loaded) = &mut self.loaded else {
            return Err(Error::invalid_request("prepare: nothing is loaded, send `load` first"));
        };
        let tasks = &self.description.architectures[&loaded.architecture];
        if !tasks.iter().any(|name| name == task.name()) {
            return Err(Error::unsupported(format!(
                "task `{}` of `{}` is not one of {}",
                task.name(),
                loaded.architecture,
                listed(tasks)
            )));
        }
        let names = architecture::input_names(&loaded.architecture, &task);
        let inputs = read_inputs(&prepare.inputs, names.as_deref())?;
        let start = Instant::now();
        let mut program = loaded.model.prepare(&task, &inputs)?;
        let prepare_ns = nanoseconds(start.elapsed());
        let start = Instant::now();
        program.execute(Boundary::Host)?;
        let first_ns = nanoseconds(start.elapsed());
        loaded.prepared = Some(Prepared { program, inputs, names, executed: true });
        Ok(Done::Prepared { prepare_ns, first_ns })
    }

    fn prepared(&mut self, op: &str) -> Result<&mut Prepared> {
        self.loaded
            .as_mut()
            .and_then(|loaded| loaded.prepared.as_mut())
            .ok_or_else(|| Error::invalid_request(format!("{op}: nothing is prepared, send `prepare` first")))
    }
}

impl Prepared {
    fn run(&mut self, run: &Run) -> Result<Done> {
        let mut samples_ns = Vec::with_capacity(run.iterations.min(MAX_RESERVED_SAMPLES) as usize);
        let mut first_token_ns = Vec::new();
        for _ in 0..run.iterations {
            self.executed = false;
            let start = Instant::now();
            let execution = self.program.execute(run.boundary);
            let sample = start.elapsed();
            first_token_ns.extend(execution?.first_token.map(nanoseconds));
            samples_ns.push(nanoseconds(sample));
            self.executed = true;
        }
        let first_token_ns = (!first_token_ns.is_empty()).then_some(first_token_ns);
        Ok(Done::Samples { samples_ns, first_token_ns })
    }

    fn bind(&mut self, bind: &Bind) -> Result<Done> {
        let inputs = read_inputs(&bind.inputs, self.names.as_deref())?;
        self.inputs.check_alike(&inputs)?;
        self.program.bind(&inputs)?;
        Ok(Done::Empty {})
    }

    fn write(&self, request: &Outputs) -> Result<Done> {
        if !self.executed {
            return Err(Error::invalid_request("outputs: the latest execution failed, there are none"));
        }
        let mut all = self.program.outputs()?;
        if let Some(names) = &request.names {
            all = outputs::select(all, names)?;
        }
        Ok(Done::Written { tensors: outputs::write(all, Path::new(&request.path))? })
    }
}

impl Description {
    /// Checks that this build has the backend, and that the backend computes in the precision.
    ///
    /// # Errors
    /// `unsupported`, naming what there is instead.
    pub fn check_backend(&self, backend: &str, precision: &str) -> Result<&Backend> {
        let Some(found) = self.backends.iter().find(|candidate| candidate.id == backend) else {
            return Err(Error::unsupported(format!(
                "backend `{backend}` is not one of {}",
                listed(self.backends.iter().map(|backend| &backend.id))
            )));
        };
        if !found.precisions.iter().any(|name| name == precision) {
            return Err(Error::unsupported(format!(
                "precision `{precision}` of backend `{backend}` is not one of {}",
                listed(&found.precisions)
            )));
        }
        Ok(found)
    }
}

fn read_inputs(path: &str, names: Option<&[&str]>) -> Result<Inputs> {
    let inputs = Inputs::read(Path::new(path))?;
    Ok(match names {
        Some(names) => inputs.only(names),
        None => inputs,
    })
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// 584 years fit.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
