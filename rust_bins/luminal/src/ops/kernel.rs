//! Fused elementwise programs, with or without a reduction at their end.
//!
//! luminal runs one primitive at a time, each a pass over memory that evaluates a symbolic index expression for every
//! element. A [`Kernel`] is a whole tree of primitives over one domain, evaluated tile by tile: addresses are strides, a tile
//! stays in the first-level cache, each instruction is a loop over a tile that the compiler vectorises.

use luminal::op::{InputTensor, Operator};
use luminal::prelude::{ShapeTracker, Tensor};
use rayon::prelude::*;

use super::{math, values};
use crate::view::Load;

/// Elements of a tile: a few registers of it fit the first-level cache.
const TILE: usize = 512;
/// Below this many elements a second thread costs more than it gives.
const PARALLEL: usize = 1 << 14;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// Base-two logarithm.
    Log2,
    /// Two to the power.
    Exp2,
    /// Sine.
    Sin,
    /// One over.
    Recip,
    /// Square root.
    Sqrt,
    /// Error function.
    Erf,
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// One where the first is smaller.
    LessThan,
}

/// How a kernel's values along one axis become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Sum, accumulated in `f64`.
    Sum,
    /// Maximum.
    Max,
}

/// Where an instruction's operand comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// The result of an earlier instruction.
    Instruction(usize),
    /// An entry of the list of loads.
    Load(usize),
    /// A number.
    Constant(f32),
}

/// One step of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instruction {
    /// A function of one operand.
    Unary(Unary, Source),
    /// A function of two operands.
    Binary(Binary, Source, Source),
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

/// An operand's values in one tile.
#[derive(Clone, Copy)]
enum Values<'a> {
    Slice(&'a [f32]),
    Scalar(f32),
}

/// The state of one thread.
struct Frame {
    registers: Vec<Vec<f32>>,
    /// Address of each load's row; none where the row is outside the load's valid range, and so zero.
    bases: Vec<Option<isize>>,
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

    fn run(&self, inputs: &[&[f32]]) -> Vec<f32> {
        let inner = self.domain[self.domain.len() - 1];
        let width = if matches!(self.mode, Mode::Rows(_)) { 1 } else { inner };
        let mut out = vec![0.0_f32; self.elements()];
        let rows = out.len() / width;
        let threads = rayon::current_num_threads();
        let work: usize = self.domain.iter().product();
        if threads == 1 || work < PARALLEL {
            self.rows(inputs, 0, 0, width, &mut out);
        } else if rows >= 2 * threads || width == 1 {
            let chunk = rows.div_ceil(4 * threads).max(1);
            out.par_chunks_mut(chunk * width).enumerate().for_each(|(i, part)| {
                self.rows(inputs, i * chunk, 0, width, part);
            });
        } else {
            let chunk = width.div_ceil(4 * threads).next_multiple_of(16);
            for (row, part) in out.chunks_mut(width).enumerate() {
                part.par_chunks_mut(chunk).enumerate().for_each(|(i, part)| {
                    let width = part.len();
                    self.rows(inputs, row, i * chunk, width, part);
                });
            }
        }
        out
    }

    /// Computes the rows of outputs from `first` on, columns `start..start + width` of each.
    fn rows(&self, inputs: &[&[f32]], first: usize, start: usize, width: usize, out: &mut [f32]) {
        let mut frame =
            Frame { registers: vec![vec![0.0; TILE]; self.registers], bases: vec![None; self.fetches.len()] };
        for (row, part) in out.chunks_mut(width).enumerate() {
            self.seek(&mut frame, first + row);
            match self.mode {
                Mode::Each => {
                    for (i, tile) in part.chunks_mut(TILE).enumerate() {
                        self.tile_into(inputs, &mut frame, start + i * TILE, tile);
                    }
                }
                Mode::Rows(kind) => part[0] = self.reduce_row(inputs, &mut frame, kind),
                Mode::Columns(kind) => {
                    let bases = frame.bases.clone();
                    for (i, tile) in part.chunks_mut(TILE).enumerate() {
                        self.reduce_columns(inputs, &mut frame, &bases, kind, start + i * TILE, tile);
                    }
                }
            }
        }
    }

    /// Sets the address of every load at an outer index, given as its row-major number.
    fn seek(&self, frame: &mut Frame, row: usize) {
        let outer = match self.mode {
            Mode::Columns(_) => self.domain.len() - 2,
            _ => self.domain.len() - 1,
        };
        for (base, fetch) in frame.bases.iter_mut().zip(&self.fetches) {
            let (mut rest, mut at) = (row, Some(fetch.load.offset));
            for axis in (0..outer).rev() {
                let index = rest % self.domain[axis];
                rest /= self.domain[axis];
                at = advance(at, &fetch.load, axis, index);
            }
            *base = at;
        }
    }

    fn reduce_row(&self, inputs: &[&[f32]], frame: &mut Frame, kind: Reduction) -> f32 {
        let length = self.domain[self.domain.len() - 1];
        let (mut sum, mut max) = (0.0_f64, f32::NEG_INFINITY);
        for start in (0..length).step_by(TILE) {
            let len = TILE.min(length - start);
            match (kind, self.tile(inputs, frame, start, len)) {
                (Reduction::Sum, Values::Slice(values)) => sum += sum_of(values),
                (Reduction::Sum, Values::Scalar(value)) => sum += f64::from(value) * len as f64,
                (Reduction::Max, Values::Slice(values)) => max = max.max(max_of(values)),
                (Reduction::Max, Values::Scalar(value)) => max = max.max(value),
            }
        }
        if kind == Reduction::Sum { sum as f32 } else { max }
    }

    fn reduce_columns(
        &self,
        inputs: &[&[f32]],
        frame: &mut Frame,
        bases: &[Option<isize>],
        kind: Reduction,
        start: usize,
        out: &mut [f32],
    ) {
        let axis = self.domain.len() - 2;
        let mut totals = [0.0_f64; TILE];
        out.fill(f32::NEG_INFINITY);
        for k in 0..self.domain[axis] {
            for ((base, fetch), &outer) in frame.bases.iter_mut().zip(&self.fetches).zip(bases) {
                *base = advance(outer, &fetch.load, axis, k);
            }
            let values = self.tile(inputs, frame, start, out.len());
            match (kind, values) {
                (Reduction::Sum, Values::Slice(values)) => {
                    totals.iter_mut().zip(values).for_each(|(total, &v)| *total += f64::from(v));
                }
                (Reduction::Sum, Values::Scalar(value)) => {
                    totals[..out.len()].iter_mut().for_each(|total| *total += f64::from(value));
                }
                (Reduction::Max, Values::Slice(values)) => {
                    out.iter_mut().zip(values).for_each(|(o, &v)| *o = o.max(v));
                }
                (Reduction::Max, Values::Scalar(value)) => out.iter_mut().for_each(|o| *o = o.max(value)),
            }
        }
        if kind == Reduction::Sum {
            for (total, o) in totals.iter().zip(out) {
                *o = *total as f32;
            }
        }
    }

    /// Evaluates a tile whose values are outputs.
    fn tile_into(&self, inputs: &[&[f32]], frame: &mut Frame, start: usize, out: &mut [f32]) {
        let Some((&(_, last), before)) = self.program.split_last() else {
            self.gather(inputs, frame, start, out.len());
            match self.resolve(inputs, frame, self.result, start, out.len()) {
                Values::Slice(values) => out.copy_from_slice(values),
                Values::Scalar(value) => out.fill(value),
            }
            return;
        };
        self.steps(inputs, frame, before, start, out.len());
        self.step(inputs, frame, last, start, out);
    }

    /// Evaluates a tile and returns the result's values.
    fn tile<'a>(&self, inputs: &[&'a [f32]], frame: &'a mut Frame, start: usize, len: usize) -> Values<'a> {
        self.steps(inputs, frame, &self.program, start, len);
        self.resolve(inputs, frame, self.result, start, len)
    }

    fn steps(&self, inputs: &[&[f32]], frame: &mut Frame, steps: &[(usize, Instruction)], start: usize, len: usize) {
        self.gather(inputs, frame, start, len);
        for &(register, instruction) in steps {
            let mut dst = std::mem::take(&mut frame.registers[register]);
            self.step(inputs, frame, instruction, start, &mut dst[..len]);
            frame.registers[register] = dst;
        }
    }

    fn step(&self, inputs: &[&[f32]], frame: &Frame, instruction: Instruction, start: usize, dst: &mut [f32]) {
        let value = |source| self.resolve(inputs, frame, source, start, dst.len());
        match instruction {
            Instruction::Unary(kind, x) => unary(kind, value(x), dst),
            Instruction::Binary(kind, a, b) => {
                let (a, b) = (value(a), value(b));
                binary(kind, a, b, dst);
            }
        }
    }

    /// Copies the tiles of the loads that are not neighbours in memory.
    fn gather(&self, inputs: &[&[f32]], frame: &mut Frame, start: usize, len: usize) {
        let inner = self.domain.len() - 1;
        for (fetch, base) in self.fetches.iter().zip(&frame.bases) {
            let Inner::Gathered(register) = fetch.inner else { continue };
            let dst = &mut frame.registers[register][..len];
            let Some(base) = *base else {
                dst.fill(0.0);
                continue;
            };
            let (low, high) = fetch.load.valid[inner];
            let (low, high) = (low.clamp(start, start + len) - start, high.clamp(start, start + len) - start);
            dst[..low].fill(0.0);
            dst[high..].fill(0.0);
            let (source, stride) = (inputs[fetch.input], fetch.load.strides[inner]);
            let first = base + ((start + low) * stride).cast_signed();
            match stride {
                _ if low == high => {}
                0 => dst[low..high].fill(source[first.cast_unsigned()]),
                1 => dst[low..high].copy_from_slice(&source[first.cast_unsigned()..][..high - low]),
                _ => {
                    for (d, s) in dst[low..high].iter_mut().zip(source[first.cast_unsigned()..].iter().step_by(stride))
                    {
                        *d = *s;
                    }
                }
            }
        }
    }

    fn resolve<'a>(
        &self,
        inputs: &[&'a [f32]],
        frame: &'a Frame,
        source: Source,
        start: usize,
        len: usize,
    ) -> Values<'a> {
        match source {
            Source::Constant(value) => Values::Scalar(value),
            Source::Instruction(register) => Values::Slice(&frame.registers[register][..len]),
            Source::Load(i) => match (self.fetches[i].inner, frame.bases[i]) {
                (Inner::Gathered(register), _) => Values::Slice(&frame.registers[register][..len]),
                (_, None) => Values::Scalar(0.0),
                (Inner::Repeated, Some(base)) => Values::Scalar(inputs[self.fetches[i].input][base.cast_unsigned()]),
                (Inner::Contiguous, Some(base)) => {
                    Values::Slice(&inputs[self.fetches[i].input][base.cast_unsigned() + start..][..len])
                }
            },
        }
    }
}

impl Operator for Kernel {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let inputs: Vec<&[f32]> = inputs.iter().map(|(input, _)| values(input)).collect();
        vec![Tensor::new(self.run(&inputs))]
    }
}

impl Instruction {
    fn sources(self) -> impl Iterator<Item = Source> {
        let (a, b) = match self {
            Self::Unary(_, x) => (x, None),
            Self::Binary(_, a, b) => (a, Some(b)),
        };
        std::iter::once(a).chain(b)
    }

    fn with(self, register: impl Fn(usize) -> usize) -> Self {
        let map = |source| match source {
            Source::Instruction(j) => Source::Instruction(register(j)),
            other => other,
        };
        match self {
            Self::Unary(kind, x) => Self::Unary(kind, map(x)),
            Self::Binary(kind, a, b) => Self::Binary(kind, map(a), map(b)),
        }
    }
}

/// The address after `index` steps along an axis; none outside the valid range.
fn advance(at: Option<isize>, load: &Load, axis: usize, index: usize) -> Option<isize> {
    let (low, high) = load.valid[axis];
    at.filter(|_| (low..high).contains(&index)).map(|at| at + (index * load.strides[axis]).cast_signed())
}

/// Drops axes of length one and joins neighbours that every load walks as one.
fn merge_axes(domain: &mut Vec<usize>, loads: &mut [(usize, Load)], reduced: &mut Option<usize>) {
    let remove = |axis: usize, domain: &mut Vec<usize>, loads: &mut [(usize, Load)]| {
        domain.remove(axis);
        for (_, load) in loads {
            load.strides.remove(axis);
            load.valid.remove(axis);
        }
    };
    for axis in (0..domain.len()).rev() {
        if domain[axis] == 1 && loads.iter().all(|(_, load)| load.valid[axis] == (0, 1)) {
            remove(axis, domain, loads);
            *reduced = reduced.filter(|&r| r != axis).map(|r| if r > axis { r - 1 } else { r });
        }
    }
    for axis in (1..domain.len()).rev() {
        let (outer, inner) = (domain[axis - 1], domain[axis]);
        let whole = |load: &Load| load.valid[axis - 1] == (0, outer) && load.valid[axis] == (0, inner);
        let one_walk = |load: &Load| load.strides[axis - 1] == load.strides[axis] * inner;
        if *reduced == Some(axis)
            || *reduced == Some(axis - 1)
            || !loads.iter().all(|(_, load)| whole(load) && one_walk(load))
        {
            continue;
        }
        for (_, load) in loads.iter_mut() {
            load.valid[axis - 1] = (0, outer * inner);
            load.strides[axis - 1] = load.strides[axis];
        }
        domain[axis - 1] = outer * inner;
        remove(axis, domain, loads);
        *reduced = reduced.map(|r| if r > axis { r - 1 } else { r });
    }
    if domain.is_empty() {
        domain.push(1);
        for (_, load) in loads {
            load.strides.push(0);
            load.valid.push((0, 1));
        }
    }
}

fn move_axis(domain: &mut Vec<usize>, loads: &mut [(usize, Load)], from: usize, to: usize) {
    let length = domain.remove(from);
    domain.insert(to, length);
    for (_, load) in loads {
        let (stride, valid) = (load.strides.remove(from), load.valid.remove(from));
        load.strides.insert(to, stride);
        load.valid.insert(to, valid);
    }
}

fn unary(kind: Unary, x: Values, dst: &mut [f32]) {
    fn apply(x: Values, dst: &mut [f32], f: impl Fn(f32) -> f32) {
        match x {
            Values::Slice(x) => math::map(dst, x, f),
            Values::Scalar(x) => dst.fill(f(x)),
        }
    }
    match kind {
        Unary::Log2 => apply(x, dst, f32::log2),
        Unary::Exp2 => apply(x, dst, math::exp2),
        Unary::Sin => apply(x, dst, f32::sin),
        Unary::Recip => apply(x, dst, f32::recip),
        Unary::Sqrt => apply(x, dst, f32::sqrt),
        Unary::Erf => apply(x, dst, math::erf),
    }
}

fn binary(kind: Binary, a: Values, b: Values, dst: &mut [f32]) {
    fn apply(a: Values, b: Values, dst: &mut [f32], f: impl Fn(f32, f32) -> f32) {
        match (a, b) {
            (Values::Slice(a), Values::Slice(b)) => math::zip(dst, a, b, f),
            (Values::Slice(a), Values::Scalar(b)) => math::map(dst, a, |a| f(a, b)),
            (Values::Scalar(a), Values::Slice(b)) => math::map(dst, b, |b| f(a, b)),
            (Values::Scalar(a), Values::Scalar(b)) => dst.fill(f(a, b)),
        }
    }
    match kind {
        Binary::Add => apply(a, b, dst, |a, b| a + b),
        Binary::Mul => apply(a, b, dst, |a, b| a * b),
        Binary::LessThan => apply(a, b, dst, |a, b| f32::from(u8::from(a < b))),
    }
}

/// A sum in `f64`: gradients of norms cancel to a thousandth of their terms.
fn sum_of(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let chunks = values.chunks_exact(16);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(v)).sum();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(v);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn max_of(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().copied().fold(rest, f32::max)
}
