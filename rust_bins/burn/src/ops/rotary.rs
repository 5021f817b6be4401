//! Rotary positions (Su et al. 2021).

use burn::tensor::{Device, Tensor, TensorData};

/// Rotary positions in transformers' pairing: channel `i` turns with channel `i + width / 2`.
///
/// `nn::RotaryEncoding` pairs neighbours (`2i` with `2i + 1`), which is another model.
#[derive(Clone)]
pub struct Rotary {
    /// `[T, 1, width]`: cosines, both halves alike.
    cos: Tensor<3>,
    /// `[T, 1, width]`: sines, both halves alike.
    sin: Tensor<3>,
    /// `[width, width]`: the signed permutation that maps `(a, b)` to `(-b, a)`. A product with it is exact, and one
    /// operation in each direction where slicing and concatenation are three, with zero-filled gradients.
    turn: Tensor<2>,
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
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| f(angle) as f32).collect();
            Tensor::<3>::from_data(TensorData::new(values, [rows, 1, width]), device)
        };
        let mut turn = vec![0.0_f32; width * width];
        for i in 0..half {
            turn[(i + half) * width + i] = -1.0;
            turn[i * width + i + half] = 1.0;
        }
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
            turn: Tensor::from_data(TensorData::new(turn, [width, width]), device),
        }
    }

    /// Rotates `x` `[B, T, H * width]`, whose first row stands at row `start` of the tables, and splits it into heads:
    /// `[B, H, T, width]`.
    pub fn forward(&self, x: Tensor<3>, start: usize) -> Tensor<4> {
        let [b, t, channels] = x.dims();
        let width = self.turn.dims()[0];
        let shape = [b, t, channels / width, width];
        let turned = x.clone().reshape([b * t * shape[2], width]).matmul(self.turn.clone()).reshape(shape);
        let rows = |table: &Tensor<3>| table.clone().narrow(0, start, t).unsqueeze::<4>();
        (x.reshape(shape) * rows(&self.cos) + turned * rows(&self.sin)).swap_dims(1, 2)
    }
}
