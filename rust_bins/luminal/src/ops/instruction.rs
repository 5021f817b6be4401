//! The steps of a fused program: a function of one or two operands, a tile of numbers at a time.

use super::math;

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

/// An operand's values in one tile.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// Each its own.
    Slice(&'a [f32]),
    /// All the same.
    Scalar(f32),
}

impl Instruction {
    /// What it reads.
    pub fn sources(self) -> impl Iterator<Item = Source> {
        let (a, b) = match self {
            Self::Unary(_, x) => (x, None),
            Self::Binary(_, a, b) => (a, Some(b)),
        };
        std::iter::once(a).chain(b)
    }

    /// The same step with `register(j)` for the result of instruction `j`.
    pub fn with(self, register: impl Fn(usize) -> usize) -> Self {
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

/// A tile of a function's values.
pub fn unary(kind: Unary, x: Values, dst: &mut [f32]) {
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

/// A tile of a function's values.
pub fn binary(kind: Binary, a: Values, b: Values, dst: &mut [f32]) {
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
