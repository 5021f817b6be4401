//! The inputs of `unet2d-condition`, checked against its configuration.

use super::unet2d_condition::UNet2DConditionConfig;
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// The inputs of a `unet2d-condition` task.
#[derive(Debug, Clone, Copy)]
pub struct UNet2DConditionInputs<'a> {
    /// B.
    pub batch: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// S.
    pub seq: usize,
    /// `[B, in_channels, H, W]`.
    pub sample: &'a [f32],
    /// `[B]`.
    pub timestep: &'a [f32],
    /// `[B, S, cross_attention_dim]`.
    pub encoder_hidden_states: &'a [f32],
    /// `[B, out_channels, H, W]`, for `train` and `step`.
    pub target: Option<&'a [f32]>,
}

impl UNet2DConditionConfig {
    /// The inputs of `infer` (and, with `target`, of `train`), checked.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, target: bool) -> Result<UNet2DConditionInputs<'a>> {
        let (shape, sample) = inputs.f32("sample")?;
        let factor = 1 << (self.block_out_channels.len() - 1);
        let &[batch, channels, height, width] = shape else {
            return Err(Error::invalid_inputs(format!("input `sample` has shape {shape:?}, expected [B, C, H, W]")));
        };
        if channels != self.in_channels || batch == 0 || height == 0 || width == 0 {
            return Err(Error::invalid_inputs(format!(
                "input `sample` has shape {shape:?}, expected [B, {}, H, W], none of them zero",
                self.in_channels
            )));
        }
        if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return Err(Error::invalid_inputs(format!(
                "input `sample` is {height}x{width}: both must be multiples of {factor} for {} levels",
                self.block_out_channels.len()
            )));
        }
        let (timestep_shape, timestep) = inputs.f32("timestep")?;
        if timestep_shape != [batch] {
            return Err(Error::invalid_inputs(format!(
                "input `timestep` has shape {timestep_shape:?}, expected [{batch}]"
            )));
        }
        let (context_shape, encoder_hidden_states) = inputs.f32("encoder_hidden_states")?;
        let seq = match context_shape {
            &[b, seq, c] if b == batch && seq > 0 && c == self.context() => seq,
            _ => {
                return Err(Error::invalid_inputs(format!(
                    "input `encoder_hidden_states` has shape {context_shape:?}, expected [{batch}, S, {}]",
                    self.context()
                )));
            }
        };
        let target = if target {
            let (target_shape, target) = inputs.f32("target")?;
            let expected = [batch, self.out_channels, height, width];
            if target_shape != expected {
                return Err(Error::invalid_inputs(format!(
                    "input `target` has shape {target_shape:?}, expected {expected:?}"
                )));
            }
            Some(target)
        } else {
            None
        };
        Ok(UNet2DConditionInputs { batch, height, width, seq, sample, timestep, encoder_hidden_states, target })
    }
}
