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
use crate::readback::Readback;
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
    /// The outputs in host memory, in the order of `slots`; the memory is kept for the next execution.
    pub host: Vec<Vec<f32>>,
    /// Whether they are those of the latest execution, one within the `host` boundary.
    pub on_host: bool,
    /// The way of the graph's first output to the host.
    pub readback: RefCell<Readback>,
}

impl Compiled {
    /// Converts the bound inputs to the graph's layout and writes them to the device.
    fn upload(&self) -> Result<()> {
        let feeds = self.architecture.feeds(&self.inputs, self.labels)?;
        let mut session = self.session.borrow_mut();
        guard("upload", || write(&mut session, &feeds))
    }

    /// Reads one output from the device into `values`, in the contract's order.
    fn download(&self, slot: &Slot, values: &mut Vec<f32>) -> Result<()> {
        let session = self.session.borrow();
        guard("download", || match &slot.source {
            Source::Head(layout) => {
                let mut readback = self.readback.borrow_mut();
                readback.read(&session, &[(0, layout.shape().iter().product())], |_, read| {
                    values.clear();
                    values.extend_from_slice(read);
                });
                *values = layout.to_contract(std::mem::take(values));
            }
            Source::Loss => *values = vec![session.read_loss()],
            Source::Gradient(parameter) => {
                values.resize(parameter.shape.iter().product(), 0.0);
                session.read_param_grad(&parameter.name, values);
            }
            Source::Parameter(parameter) => {
                *values = session.read_params(&[&parameter.name]).pop().expect("one for each name");
            }
        })
    }

    /// Reads every output from the device.
    fn download_all(&mut self) -> Result<()> {
        let mut host = std::mem::take(&mut self.host);
        host.resize_with(self.slots.len(), Vec::new);
        for (slot, values) in self.slots.iter().zip(&mut host) {
            if !matches!(slot.source, Source::Parameter(_)) {
                self.download(slot, values)?;
            }
        }
        let parameters: Vec<(usize, &str)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| match &slot.source {
                Source::Parameter(parameter) => Some((i, parameter.name.as_str())),
                _ => None,
            })
            .collect();
        // All in one transfer.
        let names: Vec<&str> = parameters.iter().map(|&(_, name)| name).collect();
        let read = guard("download", || self.session.borrow().read_params(&names))?;
        for (&(i, _), values) in parameters.iter().zip(read) {
            host[i] = values;
        }
        self.host = host;
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
            let shape = match &slot.source {
                Source::Head(layout) => layout.shape(),
                Source::Loss => vec![],
                Source::Gradient(parameter) | Source::Parameter(parameter) => parameter.shape.clone(),
            };
            if self.on_host {
                return Output::f32(&slot.name, &shape, self.host[i].as_slice());
            }
            Output::lazy(&slot.name, &shape, || {
                let mut values = Vec::new();
                self.download(slot, &mut values).map(|()| values)
            })
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
