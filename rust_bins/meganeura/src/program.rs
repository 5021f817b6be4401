//! A compiled session and what the contract asks of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result};
use meganeura::Session;
use meganeura::compile::ExecutionPlan;

use crate::architecture::Architecture;
use crate::decode::write;
use crate::optimizer::Schedule;
use crate::readback::Readback;
use crate::store::Store;
use crate::training;

/// Where the values of an output are in the session.
pub enum Source {
    /// The graph's first output, of this shape.
    Head(Vec<usize>),
    /// The loss, the first output too: partial sums that the framework leaves to the host to add.
    Loss,
    /// The gradient of a parameter.
    Gradient(Parameter),
    /// A parameter itself.
    Parameter(Parameter),
}

impl Source {
    /// The contract's shape.
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Head(shape) => shape.clone(),
            Self::Loss => vec![],
            Self::Gradient(parameter) | Self::Parameter(parameter) => parameter.shape.clone(),
        }
    }

    /// Which of the session's outputs it is, and how many values that has.
    fn output(&self, plan: &ExecutionPlan) -> (usize, usize) {
        let buffer = match self {
            Self::Head(shape) => return (0, shape.iter().product()),
            Self::Loss => return (0, plan.buffers[plan.output_buffers[0].0 as usize] / size_of::<f32>()),
            Self::Gradient(parameter) => training::gradient(plan, &parameter.name),
            Self::Parameter(parameter) => training::parameter(plan, &parameter.name),
        };
        let index = plan.output_buffers.iter().position(|output| Some(*output) == buffer);
        (index.expect("an output of the plan"), self.shape().iter().product())
    }

    /// The contract's values, where they are not those of the session as they are.
    fn converted(&self, values: &[f32]) -> Option<Vec<f32>> {
        match self {
            Self::Loss => Some(vec![values.iter().sum()]),
            Self::Head(_) | Self::Gradient(_) | Self::Parameter(_) => None,
        }
    }
}

/// One output of the contract.
pub struct Slot {
    /// The contract's name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

/// A task compiled for fixed shapes.
pub struct Compiled {
    /// Gives the values of the graph's inputs.
    pub architecture: Rc<dyn Architecture>,
    /// The parameters that this program shares with the others of its model.
    pub store: Rc<Store>,
    /// The framework's session.
    pub session: Rc<RefCell<Session>>,
    /// The outputs of the task.
    pub slots: Vec<Slot>,
    /// Whether the task reads labels.
    pub labels: bool,
    /// What changes the parameters at every execution of a `step`.
    pub optimizer: Option<Schedule>,
    /// The inputs in host memory.
    pub inputs: Inputs,
    /// The outputs in host memory, in the order of `slots`.
    pub readback: Readback,
    /// Those of them that the contract has otherwise.
    pub converted: Vec<Option<Vec<f32>>>,
    /// Whether they are those of the latest execution, one within the `host` boundary.
    pub on_host: bool,
}

impl Compiled {
    /// Converts the bound inputs to the graph's layout and writes them to the device.
    fn upload(&self) -> Result<()> {
        let feeds = self.architecture.feeds(&self.inputs, self.labels)?;
        let mut session = self.session.borrow_mut();
        guard("upload", || write(&mut session, &feeds))
    }

    /// Reads one output from the device, in the contract's order.
    fn download(&self, slot: &Slot) -> Result<Vec<f32>> {
        let session = self.session.borrow();
        guard("download", || {
            let mut readback = Readback::new(&session.context());
            readback.read(&session, &[slot.source.output(session.plan())]);
            let values = readback.values(0);
            slot.source.converted(values).unwrap_or_else(|| values.to_vec())
        })
    }

    /// Reads every output from the device, all in one transfer.
    fn download_all(&mut self) -> Result<()> {
        let session = self.session.borrow();
        guard("download", || {
            let outputs: Vec<_> = self.slots.iter().map(|slot| slot.source.output(session.plan())).collect();
            self.readback.read(&session, &outputs);
        })?;
        let sources = self.slots.iter().map(|slot| &slot.source).enumerate();
        self.converted = sources.map(|(i, source)| source.converted(self.readback.values(i))).collect();
        self.on_host = true;
        Ok(())
    }
}

impl Program for Compiled {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        let earlier = std::mem::replace(&mut self.inputs, inputs.clone());
        self.upload().inspect_err(|_| self.inputs = earlier)
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        self.on_host = false;
        if boundary == Boundary::Host {
            self.upload()?;
        }
        guard("execution", || {
            let mut session = self.session.borrow_mut();
            if let Some(optimizer) = &mut self.optimizer {
                optimizer.prepare(&mut session);
            }
            session.step();
            session.wait();
        })?;
        if boundary == Boundary::Host {
            self.download_all()?;
        }
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let outputs = self.slots.iter().enumerate().map(|(i, slot)| {
            let shape = slot.source.shape();
            if self.on_host {
                let values = self.converted[i].as_deref();
                return Output::f32(&slot.name, &shape, values.unwrap_or_else(|| self.readback.values(i)));
            }
            Output::lazy(&slot.name, &shape, || self.download(slot))
        });
        Ok(outputs.collect())
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if self.optimizer.is_some() {
            self.store.sync();
        }
    }
}

/// Runs a call into the framework, which reports by panicking, and turns a panic into an error of the contract.
///
/// # Errors
/// `out_of_memory` when the framework refused an allocation, otherwise `internal`, in its own words.
pub fn guard<T>(what: &str, call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message");
        let message = format!("{what}: {words}");
        let memory = ["oversubscribe GPU memory", "OUT_OF_DEVICE_MEMORY", "OUT_OF_HOST_MEMORY", "OutOfMemory"];
        if memory.iter().any(|m| words.contains(m)) { Error::out_of_memory(message) } else { Error::internal(message) }
    })
}

#[cfg(test)]
mod tests {
    use arena_runner::Code;

    use super::*;

    #[test]
    fn a_panic_of_the_framework_becomes_an_error() {
        assert_eq!(guard("call", || 3).unwrap(), 3);
        let error = guard("call", || panic!("bad shape {}", 7)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::Internal, "call: bad shape 7"));
        let error = guard("call", || panic!("refusing to oversubscribe GPU memory for x")).unwrap_err();
        assert_eq!(error.code, Code::OutOfMemory);
    }
}
