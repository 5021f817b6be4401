//! Rotary position embeddings (Su et al. 2021), in transformers' arrangement: the first half of a head with the second.

use candle_core::{Device, Result, Tensor};

use crate::graft::graft1;

/// Cosines and sines of the angles of consecutive positions, `[T, head_dim / 2]`.
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// The angles of positions `start .. start + length`: `position / theta^(2 i / head_dim)`, in float64, since their
    /// rounding in float32 grows with the position.
    ///
    /// # Errors
    /// Candle's.
    pub fn new(theta: f64, head_dim: usize, start: usize, length: usize, device: &Device) -> Result<Self> {
        let half = head_dim / 2;
        let angles = (start..start + length)
            .flat_map(|t| (0..half).map(move |i| t as f64 / theta.powf(2.0 * i as f64 / head_dim as f64)));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        let tensor = |values| Tensor::from_vec(values, (length, half), device);
        Ok(Self { cos: tensor(cos)?, sin: tensor(sin)? })
    }

    /// Rotates `x` `[B, H, T, head_dim]`. Candle's kernel has no gradient; that of a rotation is the rotation back.
    ///
    /// # Errors
    /// Candle's.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let y = candle_nn::rotary_emb::rope(&x.detach().contiguous()?, &self.cos, &self.sin)?;
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        graft1("rotary", x, y, move |_, g| candle_nn::rotary_emb::rope(&g.contiguous()?, &cos, &sin.neg()?))
    }
}
