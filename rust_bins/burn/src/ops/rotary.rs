//! Rotary positions (Su et al. 2021).

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::backend::is_host;

/// Rotary positions in transformers' pairing: channel `i` turns with channel `i + width / 2`.
///
/// `nn::RotaryEncoding` pairs neighbours (`2i` with `2i + 1`), which is another model.
#[derive(Clone)]
pub struct Rotary {
    /// `[T, 1, width]`: cosines, both halves alike.
    cos: Tensor<3>,
    /// `[T, 1, width]`: sines, the first half negative.
    sin: Tensor<3>,
    /// `[width]`: the channel that each turns with.
    partner: Tensor<1, Int>,
    /// `[width, width]`: the permutation that maps `(a, b)` to `(b, a)`. A product with it is exact, and one operation in
    /// each direction where slicing and concatenation are three, with zero-filled gradients.
    swap: Tensor<2>,
}

impl Rotary {
    /// The tables for `positions` and heads of `width`; angles `position / theta^(2i / width)` in double precision.
    pub fn new(positions: std::ops::Range<usize>, width: usize, theta: f64, device: &Device) -> Self {
        let (rows, half) = (positions.len(), width / 2);
        let angles: Vec<f64> = positions
            .flat_map(|position| {
                (0..width).map(move |i| {
                    let exponent = 2.0 * (i % half) as f64 / width as f64;
                    position as f64 / theta.powf(exponent)
                })
            })
            .collect();
        let table = |values: Vec<f32>| Tensor::<3>::from_data(TensorData::new(values, [rows, 1, width]), device);
        let signed = |(i, angle): (usize, &f64)| if i % width < half { -angle.sin() } else { angle.sin() } as f32;
        let mut swap = vec![0.0_f32; width * width];
        let partners: Vec<i64> = (0..width).map(|i| ((i + half) % width).cast_signed() as i64).collect();
        for i in 0..width {
            swap[(i + half) % width * width + i] = 1.0;
        }
        Self {
            cos: table(angles.iter().map(|angle| angle.cos() as f32).collect()),
            sin: table(angles.iter().enumerate().map(signed).collect()),
            partner: Tensor::from_data(TensorData::new(partners, [width]), device),
            swap: Tensor::from_data(TensorData::new(swap, [width, width]), device),
        }
    }

    /// The same for `t` positions from row `start` of the tables on: taken once an execution, not once a layer.
    pub fn at(&self, start: usize, t: usize) -> Self {
        let rows = |table: &Tensor<3>| table.clone().narrow(0, start, t);
        Self { cos: rows(&self.cos), sin: rows(&self.sin), ..self.clone() }
    }

    /// Rotates `x` `[B, T, H * width]`, whose rows are those of the tables, and splits it into heads:
    /// `[B, H, T, width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<4> {
        let [b, t, channels] = x.dims();
        let width = self.swap.dims()[0];
        let shape = [b, t, channels / width, width];
        let swapped = if x.device().is_autodiff() || is_host(&x.device()) {
            x.clone().reshape([b * t * shape[2], width]).matmul(self.swap.clone()).reshape(shape)
        } else {
            // One kernel with the rest, by fusion.
            x.clone().reshape(shape).select(3, self.partner.clone())
        };
        let rows = |table: &Tensor<3>| table.clone().unsqueeze::<4>();
        (x.reshape(shape) * rows(&self.cos) + swapped * rows(&self.sin)).swap_dims(1, 2)
    }
}
