//! The evaluation of a kernel: rows of outputs, each tile by tile.

use rayon::prelude::*;

use super::axes::advance;
use super::{Inner, Kernel, Mode, Reduction};
use crate::ops::instruction::{Instruction, Source, Values, binary, unary};
use crate::ops::math::{max_of, sum_of};

/// Elements of a tile: a few registers of it fit the first-level cache.
const TILE: usize = 512;
/// Below this many elements a second thread costs more than it gives.
const PARALLEL: usize = 1 << 14;

/// The state of one thread.
struct Frame {
    registers: Vec<Vec<f32>>,
    /// Address of each load's row; none where the row is outside the load's valid range, and so zero.
    bases: Vec<Option<isize>>,
}

impl Kernel {
    /// The values of the output, row-major.
    pub fn run(&self, inputs: &[&[f32]]) -> Vec<f32> {
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
