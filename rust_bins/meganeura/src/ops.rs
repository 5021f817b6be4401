//! What the framework lacks or does otherwise than the models define it, composed from its own operations, so that
//! its automatic differentiation and its kernels are what is measured. `docs/framework-notes/meganeura.md` has the
//! reproduction of each finding.

use meganeura::NodeId;

use crate::net::Net;

/// The angles of rotary position embedding for one number of heads, as two constants `[rows * heads * width]`.
///
/// The framework's own `rope` computes `pow`, `sin` and `cos` on the device, where Vulkan promises far less than
/// float32 accuracy for each; here the angles are float64 on the host and rounded once.
#[derive(Debug, Clone, Copy)]
pub struct Rotary {
    cos: NodeId,
    sin: NodeId,
    heads: usize,
    width: usize,
}

impl Rotary {
    /// Tables for `positions` (one a row), `heads` heads of `width` values a row, base `theta`.
    pub fn new(net: &mut Net, positions: std::ops::Range<usize>, heads: usize, width: usize, theta: f64) -> Self {
        let size = positions.len() * heads * width;
        let [cos, sin] = rotary_tables(positions, heads, width, theta).map(|table| net.graph.constant(table, &[size]));
        Self { cos, sin, heads, width }
    }

    /// Tables for one row whose position is not known yet: two inputs, `{name}.cos` and `{name}.sin`.
    pub fn fed(net: &mut Net, name: &str, heads: usize, width: usize) -> Self {
        let [cos, sin] = ["cos", "sin"].map(|part| net.graph.input(&format!("{name}.{part}"), &[heads * width]));
        Self { cos, sin, heads, width }
    }

    /// Rotates `x` of `rows * heads * width` values; the shape stays.
    pub fn apply(&self, net: &mut Net, x: NodeId) -> NodeId {
        let shape = net.dims(x).to_vec();
        let size: usize = shape.iter().product();
        let (rows, half) = ((size / self.width) as u32, (self.width / 2) as u32);
        debug_assert_eq!(size % (self.heads * self.width), 0);
        let flat = reshape(net, x, &[size]);
        let first = net.graph.split_a(flat, rows, half, half, 1);
        let second = net.graph.split_b(flat, rows, half, half, 1);
        let swapped = net.graph.concat(second, first, rows, half, half, 1);
        let kept = net.graph.mul(flat, self.cos);
        let turned = net.graph.mul(swapped, self.sin);
        let sum = net.graph.add(kept, turned);
        reshape(net, sum, &shape)
    }
}

/// The cosines and the signed sines of [`Rotary`], `[positions * heads * width]` each.
/// Formula: Su et al. 2021 (`RoFormer`), in the half-split pairing of transformers' Llama.
pub fn rotary_tables(positions: std::ops::Range<usize>, heads: usize, width: usize, theta: f64) -> [Vec<f32>; 2] {
    let half = width / 2;
    let size = positions.len() * heads * width;
    let (mut cos, mut sin) = (Vec::with_capacity(size), Vec::with_capacity(size));
    for position in positions {
        let angle = |i: usize| position as f64 * theta.powf(-((2 * i) as f64) / width as f64);
        let cos_row: Vec<f32> = (0..width).map(|i| angle(i % half).cos() as f32).collect();
        // The first half takes minus the second, the second takes plus the first.
        let direction = |i: usize| if i < half { -1.0 } else { 1.0 };
        let sin_row: Vec<f32> = (0..width).map(|i| (angle(i % half).sin() * direction(i)) as f32).collect();
        for _ in 0..heads {
            cos.extend_from_slice(&cos_row);
            sin.extend_from_slice(&sin_row);
        }
    }
    [cos, sin]
}

/// `x` in another shape of as many elements; `x` itself when it has that shape.
pub fn reshape(net: &mut Net, x: NodeId, shape: &[usize]) -> NodeId {
    if net.dims(x) == shape { x } else { net.graph.reshape(x, shape) }
}

/// `down(silu(gate(x)) * up(x))` (Shazeer 2020, `SwiGLU`).
pub fn feed_forward(net: &mut Net, x: NodeId, name: &str, bias: bool) -> NodeId {
    let gate = net.linear(x, &format!("{name}.gate_proj"), bias);
    let up = net.linear(x, &format!("{name}.up_proj"), bias);
    let hidden = net.graph.swiglu(gate, up);
    net.linear(hidden, &format!("{name}.down_proj"), bias)
}

/// `x` times a number.
pub fn scale(net: &mut Net, x: NodeId, factor: f64) -> NodeId {
    let shape = net.dims(x).to_vec();
    let factor = net.filled(factor as f32, &shape);
    net.graph.mul(x, factor)
}

/// Flat `x` times a number, outside of any gradient: one kernel without a tensor of constants.
fn times(net: &mut Net, x: NodeId, factor: f64) -> NodeId {
    let size: usize = net.dims(x).iter().product();
    let factor = net.filled(factor as f32, &[1]);
    net.graph.mul_per_channel(x, factor, 1, size as u32)
}

/// Flat `x` plus a number, outside of any gradient: one kernel without a tensor of constants.
fn plus(net: &mut Net, x: NodeId, term: f64) -> NodeId {
    let size: usize = net.dims(x).iter().product();
    let term = net.filled(term as f32, &[1]);
    net.graph.add_per_channel(x, term, 1, size as u32)
}

/// `x * Phi(x)` with the exact normal distribution function.
///
/// The framework's `gelu` is the approximation by `tanh`, differentiated as the approximation by a sigmoid, and it has
/// no `erf`. Here `erfc(z) exp(z^2)` is Hastings' polynomial in `1 / (1 + p z)`, of error below 1.5e-7 (Abramowitz and
/// Stegun 1964, 7.1.26), for `z = |x| / sqrt(2)`; the gradient is the exact `Phi(x) + x phi(x)` of the same values
/// rather than that of the approximation.
pub fn gelu(net: &mut Net, x: NodeId) -> NodeId {
    const P: f64 = 0.327_591_1;
    const A: [f64; 5] = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let shape = net.dims(x).to_vec();
    // The per-channel operations behind `times` and `plus` compute flat tensors only.
    let x = reshape(net, x, &[shape.iter().product()]);
    let fixed = net.graph.stop_gradient(x);
    let size = net.graph.abs(fixed);
    let denominator = times(net, size, P * std::f64::consts::FRAC_1_SQRT_2);
    let denominator = plus(net, denominator, 1.0);
    let t = net.graph.recip(denominator);
    // Half of each coefficient, for half of erfc: the tail, from |x| to infinity.
    let mut tail = times(net, t, A[4] / 2.0);
    for a in A[..4].iter().rev() {
        tail = plus(net, tail, a / 2.0);
        tail = net.graph.mul(tail, t);
    }
    let square = net.graph.mul(fixed, fixed);
    let exponent = times(net, square, -0.5);
    let bell = net.graph.exp(exponent);
    let tail = net.graph.mul(tail, bell);
    // x Phi(x) is x less its tail on the right of zero, and -|x| times the tail on the left.
    let lost = net.graph.mul(size, tail);
    let lost = net.graph.neg(lost);
    let right = net.graph.relu(fixed);
    let value = net.graph.add(right, lost);
    if !net.training {
        return reshape(net, value, &shape);
    }

    // Phi(x) is the tail on the left and one less the tail on the right.
    let zeros = times(net, fixed, 0.0);
    let is_right = net.graph.greater(fixed, zeros);
    let mirrored = times(net, is_right, -2.0);
    let mirrored = plus(net, mirrored, 1.0);
    let phi = net.graph.mul(mirrored, tail);
    let phi = net.graph.add(is_right, phi);
    let density = times(net, bell, 1.0 / (2.0 * std::f64::consts::PI).sqrt());
    let density = net.graph.mul(fixed, density);
    let slope = net.graph.add(phi, density);
    let y = with_slope(net, x, value, slope);
    reshape(net, y, &shape)
}

/// `value` in the forward pass and `slope` as its derivative by `x`: `value + slope * (x - x)`, where the second `x`,
/// `value` and `slope` pass no gradient on. (`x - x` is zero, so that the sum is `value` to the last bit.)
fn with_slope(net: &mut Net, x: NodeId, value: NodeId, slope: NodeId) -> NodeId {
    let [value, slope, fixed] = [value, slope, x].map(|node| net.graph.stop_gradient(node));
    let opposite = net.graph.neg(fixed);
    let zero = net.graph.add(x, opposite);
    let zero = net.graph.mul(slope, zero);
    net.graph.add(value, zero)
}
