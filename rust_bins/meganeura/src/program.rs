//! A compiled session and what the contract asks of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result};
use meganeura::Session;

use crate::architecture::Architecture;
use crate::decode::write;
use crate::layout::Layout;
use crate::optimizer::Schedule;
use crate::store::Store;

/// Where the values of an output are in the session.
pub enum Source {
    /// The graph's first output.
    Head(Layout),
    /// The loss: partial sums that the framework leaves to the host to add.
    Loss,
    /// The gradient of a parameter.
    Gradient(Parameter),
    /// A parameter itself.
    Parameter(Parameter),
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
    /// The outputs in host memory, after an execution within the `host` boundary.
    pub host: Option<Vec<Vec<f32>>>,
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
        guard("download", || match &slot.source {
            Source::Head(layout) => {
                let mut values = vec![0.0; layout.shape().iter().product()];
                session.read_output_by_index(0, &mut values);
                layout.to_contract(values)
            }
            Source::Loss => vec![session.read_loss()],
            Source::Gradient(parameter) => {
                let mut values = vec![0.0; parameter.shape.iter().product()];
                session.read_param_grad(&parameter.name, &mut values);
                values
            }
            Source::Parameter(parameter) => {
                let mut values = vec![0.0; parameter.shape.iter().product()];
                session.read_param(&parameter.name, &mut values);
                values
            }
        })
    }
}

impl Program for Compiled {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        let earlier = std::mem::replace(&mut self.inputs, inputs.clone());
        self.upload().inspect_err(|_| self.inputs = earlier)
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        self.host = None;
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
            self.host = Some(self.slots.iter().map(|slot| self.download(slot)).collect::<Result<_>>()?);
        }
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let outputs = self.slots.iter().enumerate().map(|(i, slot)| {
            let shape = match &slot.source {
                Source::Head(layout) => layout.shape(),
                Source::Loss => vec![],
                Source::Gradient(parameter) | Source::Parameter(parameter) => parameter.shape.clone(),
            };
            match &self.host {
                Some(host) => Output::f32(&slot.name, &shape, host[i].as_slice()),
                None => Output::lazy(&slot.name, &shape, || self.download(slot)),
            }
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
