//! Fused elementwise programs, with or without a reduction at their end.
//!
//! luminal runs one primitive at a time, each a pass over memory that evaluates a symbolic index expression for every
//! element. A [`Kernel`] is a whole tree of primitives over one domain, evaluated tile by tile: addresses are strides, a tile
//! stays in the first-level cache, each instruction is a loop over a tile that the compiler vectorises.

mod axes;
mod run;

use luminal::op::{InputTensor, Operator};
use luminal::prelude::{ShapeTracker, Tensor};

use self::axes::{merge_axes, move_axis};
use super::instruction::{Instruction, Source};
use super::values;
use crate::view::Load;

/// How a kernel's values along one axis become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Sum, accumulated in `f64`.
    Sum,
    /// Maximum.
    Max,
}

/// How the innermost axis of a load is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inner {
    /// Neighbours in memory: used in place.
    Contiguous,
    /// One number for the whole row.
    Repeated,
    /// Anything else: copied into the register.
    Gathered(usize),
}

/// A load with its axes in the kernel's order.
#[derive(Debug, Clone, PartialEq)]
struct Fetch {
    input: usize,
    load: Load,
    inner: Inner,
}

/// What happens to the values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every value is an output.
    Each,
    /// The innermost axis becomes one output.
    Rows(Reduction),
    /// The axis before the innermost is reduced, so that the innermost stays a row of outputs.
    Columns(Reduction),
}

/// A program over a domain, compiled for fixed shapes. Output: row-major over the domain without the reduced axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    domain: Vec<usize>,
    fetches: Vec<Fetch>,
    program: Vec<(usize, Instruction)>,
    result: Source,
    registers: usize,
    mode: Mode,
}

impl Kernel {
    /// Compiles `instructions` over `shape`. `loads` pairs the number of an operator input with the addresses of its view over
    /// `shape`; `result` is the value to keep; `reduction` reduces that over one axis of `shape`.
    pub fn new(
        shape: &[usize],
        loads: Vec<(usize, Load)>,
        instructions: &[Instruction],
        result: Source,
        reduction: Option<(Reduction, usize)>,
    ) -> Self {
        let (mut domain, mut loads) = (shape.to_vec(), loads);
        let mut reduced = reduction.map(|(_, axis)| axis);
        merge_axes(&mut domain, &mut loads, &mut reduced);
        let mode = match (reduction, reduced) {
            (Some((kind, _)), Some(axis)) if axis + 1 == domain.len() => Mode::Rows(kind),
            (Some((kind, _)), Some(axis)) => {
                let to = domain.len() - 2;
                move_axis(&mut domain, &mut loads, axis, to);
                Mode::Columns(kind)
            }
            _ => Mode::Each,
        };
        let mut kernel = Self { domain, fetches: vec![], program: vec![], result, registers: 0, mode };
        kernel.assign_fetches(loads);
        kernel.assign_registers(instructions);
        kernel
    }

    fn assign_fetches(&mut self, loads: Vec<(usize, Load)>) {
        let inner = self.domain.len() - 1;
        for (input, load) in loads {
            let whole = load.valid[inner] == (0, self.domain[inner]);
            let kind = match load.strides[inner] {
                1 if whole => Inner::Contiguous,
                0 if whole => Inner::Repeated,
                _ => {
                    self.registers += 1;
                    Inner::Gathered(self.registers - 1)
                }
            };
            self.fetches.push(Fetch { input, load, inner: kind });
        }
    }

    /// Gives every instruction a register, reused after the last instruction that reads it.
    fn assign_registers(&mut self, instructions: &[Instruction]) {
        let mut last_use = vec![0; instructions.len()];
        for (i, instruction) in instructions.iter().enumerate() {
            for source in instruction.sources() {
                if let Source::Instruction(j) = source {
                    last_use[j] = i;
                }
            }
        }
        if let Source::Instruction(j) = self.result {
            last_use[j] = instructions.len();
        }
        let (mut free, mut home): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
        for (i, instruction) in instructions.iter().enumerate() {
            let register = free.pop().unwrap_or_else(|| {
                self.registers += 1;
                self.registers - 1
            });
            home.push(register);
            self.program.push((register, instruction.with(|j| home[j])));
            // A register read here for the last time is free for the next instruction, not for this one.
            let mut dead: Vec<usize> = (0..i).filter(|&j| last_use[j] == i).map(|j| home[j]).collect();
            dead.dedup();
            free.extend(dead);
        }
        if let Source::Instruction(j) = self.result {
            self.result = Source::Instruction(home[j]);
        }
    }

    /// Elements of the output.
    fn elements(&self) -> usize {
        let all: usize = self.domain.iter().product();
        match self.mode {
            Mode::Each => all,
            Mode::Rows(_) => all / self.domain[self.domain.len() - 1],
            Mode::Columns(_) => all / self.domain[self.domain.len() - 2],
        }
    }
}

impl Operator for Kernel {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let inputs: Vec<&[f32]> = inputs.iter().map(|(input, _)| values(input)).collect();
        vec![Tensor::new(self.run(&inputs))]
    }
}
