//! The parameters of a model on the device, by checkpoint name.
//!
//! Every parameter is held flat, as one contiguous `Tensor<1>`; the architectures read it back in its shape, which is
//! free. That keeps gradients and optimizer states contiguous too, and of one type.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Error, Parameters, Result, Weights};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// How a parameter lies in memory, relative to the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As in the checkpoint.
    Checkpoint,
    /// A matrix `[out, in]` held as `[in, out]`: what burn's `linear` multiplies by, and what its gradient comes in.
    Transposed,
}

/// A parameter and its layout.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Name, shape in the checkpoint, and whether it is trained.
    pub parameter: Parameter,
    /// The layout in memory.
    pub layout: Layout,
}

impl Slot {
    /// The shape in memory.
    fn shape(&self) -> Vec<usize> {
        let mut shape = self.parameter.shape.clone();
        if self.layout == Layout::Transposed {
            shape.reverse();
        }
        shape
    }

    /// The values as the checkpoint has them, read from the device.
    ///
    /// # Errors
    /// `internal`, in the framework's words.
    pub fn checkpoint_values(&self, flat: Tensor<1>) -> Result<Vec<f32>> {
        let data = match self.layout {
            Layout::Checkpoint => flat.try_into_data(),
            Layout::Transposed => {
                let [inp, out] = [self.parameter.shape[1], self.parameter.shape[0]];
                flat.reshape([inp, out]).transpose().try_into_data()
            }
        };
        data.map_err(|e| Error::internal(format!("reading `{}`: {e}", self.parameter.name)))?
            .try_into_vec::<f32>()
            .map_err(|e| Error::internal(format!("reading `{}`: {e:?}", self.parameter.name)))
    }
}

/// The names, shapes and layouts of a model's parameters.
#[derive(Debug)]
pub struct Table {
    /// In the order of the architecture's `parameters()`.
    pub slots: Vec<Slot>,
    index: HashMap<String, usize>,
}

impl Table {
    /// A table of `parameters`, of which those that `transposed` names are held transposed.
    pub fn new(parameters: Vec<Parameter>, transposed: impl Fn(&Parameter) -> bool) -> Self {
        let slots: Vec<Slot> = parameters
            .into_iter()
            .map(|parameter| {
                let layout = if parameter.shape.len() == 2 && transposed(&parameter) {
                    Layout::Transposed
                } else {
                    Layout::Checkpoint
                };
                Slot { parameter, layout }
            })
            .collect();
        let index = slots.iter().enumerate().map(|(i, slot)| (slot.parameter.name.clone(), i)).collect();
        Self { slots, index }
    }
}

/// The parameters of a loaded model, shared by all its programs.
pub struct Store {
    table: Rc<Table>,
    values: RefCell<Vec<Tensor<1>>>,
}

impl Store {
    /// Reads every parameter of `table` from the weights file.
    ///
    /// # Errors
    /// `invalid_weights`, naming the first tensor that is missing or of another shape.
    pub fn load(table: Table, weights: &Weights, device: &Device) -> Result<Self> {
        let values = table
            .slots
            .iter()
            .map(|slot| {
                let shape = &slot.parameter.shape;
                let values = weights.f32(&slot.parameter.name, shape)?;
                let flat = [values.len()];
                Ok(match slot.layout {
                    Layout::Checkpoint => Tensor::from_data(TensorData::new(values, flat), device),
                    // Read back as `[in, out]`, so that the tensor on the device is contiguous in that order.
                    Layout::Transposed => {
                        let matrix = TensorData::new(values, [shape[0], shape[1]]);
                        let data = Tensor::<2>::from_data(matrix, device).transpose().into_data();
                        Tensor::<2>::from_data(data, device).reshape(flat)
                    }
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { table: Rc::new(table), values: RefCell::new(values) })
    }

    /// Scalars, and their bytes on the device.
    pub fn size(&self) -> Parameters {
        let count = self.table.slots.iter().map(|slot| slot.parameter.shape.iter().product::<usize>() as u64).sum();
        Parameters { count, bytes: count * size_of::<f32>() as u64 }
    }

    /// The current parameters, as constants.
    pub fn constants(&self) -> Handles {
        Handles { table: Rc::clone(&self.table), values: self.values.borrow().clone() }
    }

    /// The current parameters, the trainable ones as leaves of a new gradient tape.
    pub fn leaves(&self) -> Handles {
        let values = self.values.borrow();
        let leaves = values.iter().zip(&self.table.slots).map(|(value, slot)| {
            let value = value.clone().autodiff();
            if slot.parameter.trainable { value.require_grad() } else { value }
        });
        Handles { table: Rc::clone(&self.table), values: leaves.collect() }
    }

    /// Gives `update` every trainable parameter to replace: its position, slot and current value.
    ///
    /// # Errors
    /// The first error of `update`.
    pub fn update(&self, mut update: impl FnMut(usize, &Slot, Tensor<1>) -> Result<Tensor<1>>) -> Result<()> {
        let mut values = self.values.borrow_mut();
        for (i, slot) in self.table.slots.iter().enumerate().filter(|(_, slot)| slot.parameter.trainable) {
            values[i] = update(i, slot, values[i].clone())?;
        }
        Ok(())
    }

    /// The trainable parameters: slot and current value.
    pub fn trainable(&self) -> Vec<(Slot, Tensor<1>)> {
        let values = self.values.borrow();
        let pairs = self.table.slots.iter().zip(values.iter()).filter(|(slot, _)| slot.parameter.trainable);
        pairs.map(|(slot, value)| (slot.clone(), value.clone())).collect()
    }
}

/// The parameters during one execution.
#[derive(Clone)]
pub struct Handles {
    table: Rc<Table>,
    values: Vec<Tensor<1>>,
}

impl Handles {
    /// The parameter in its shape in memory: `[in, out]` for a transposed matrix.
    ///
    /// # Panics
    /// When the architecture asks for a parameter that its own `parameters()` does not list, or in another rank.
    pub fn get<const D: usize>(&self, name: &str) -> Tensor<D> {
        let Some(&i) = self.table.index.get(name) else { panic!("`{name}` is not a parameter of the architecture") };
        let shape: [usize; D] = self.table.slots[i].shape().try_into().expect("the rank of the parameter");
        self.values[i].clone().reshape(shape)
    }

    /// The same, if the architecture has it (optional biases).
    pub fn find<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        self.table.index.contains_key(name).then(|| self.get(name))
    }

    /// The gradients of the trainable parameters, each with its slot, in the table's order; removed from `gradients`.
    pub fn gradients(&self, gradients: &mut Gradients) -> Vec<(usize, Tensor<1>)> {
        let slots = self.table.slots.iter().zip(&self.values).enumerate();
        slots
            .filter(|(_, (slot, _))| slot.parameter.trainable)
            .map(|(i, (_, leaf))| {
                // A parameter that the loss does not depend on has no entry: its gradient is zero.
                let gradient = leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like());
                (i, gradient)
            })
            .collect()
    }

    /// The slot at a position of the table.
    pub fn slot(&self, i: usize) -> &Slot {
        &self.table.slots[i]
    }
}
