//! `unet2d-condition`: the denoising U-Net of latent diffusion: residual blocks that hear the time step, transformers
//! over the pixels that hear the text, skip connections from each level down to its counterpart up.

use std::rc::Rc;

use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::unet2d_plan::{
    LAYER_NORM_EPS, Level, Plan, Resnet, TRANSFORMER_GROUP_NORM_EPS, Transformer,
};
use arena_runner::{Inputs, Result};
use burn::tensor::activation::silu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};

use crate::ops::{LayerNorm, Linear, Visible, attention, conv2d, gelu, group_norm, heads, mean_squared_error};
use crate::parameters::{Handles, Table};
use crate::program::{Architecture, Flat};

/// The model on one set of parameters.
pub struct UNet2DCondition {
    config: Rc<UNet2DConditionConfig>,
    plan: Plan,
    parameters: Handles,
}

/// The inputs on the device.
pub struct Batch {
    /// `[B, in_channels, H, W]`.
    sample: Tensor<4>,
    /// `[B]`, on the host: the angles need double precision.
    timestep: Vec<f64>,
    /// `[B, S, context]`.
    encoder_hidden_states: Tensor<3>,
    /// `[B, out_channels, H, W]`.
    target: Option<Tensor<4>>,
    device: Device,
}

/// The parameters as they are held on the device: every linear layer as `[in, out]`.
pub fn table(config: &UNet2DConditionConfig) -> Table {
    Table::new(config.parameters(), |_| true)
}

impl Architecture for UNet2DCondition {
    type Config = UNet2DConditionConfig;
    type Batch = Batch;
    const OUTPUT: &'static str = "sample_out";

    fn batch(config: &UNet2DConditionConfig, inputs: &Inputs, targets: bool, device: &Device) -> Result<Batch> {
        let inputs = config.inputs(inputs, targets)?;
        let (b, h, w) = (inputs.batch, inputs.height, inputs.width);
        let image = |values: &[f32], channels| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [b, channels, h, w]), device)
        };
        let context = TensorData::new(inputs.encoder_hidden_states.to_vec(), [b, inputs.seq, config.context()]);
        Ok(Batch {
            sample: image(inputs.sample, config.in_channels),
            timestep: inputs.timestep.iter().map(|&t| t.into()).collect(),
            encoder_hidden_states: Tensor::from_data(context, device),
            target: inputs.target.map(|target| image(target, config.out_channels)),
            device: device.clone(),
        })
    }

    fn load(config: &Rc<UNet2DConditionConfig>, parameters: &Handles) -> Self {
        Self { config: Rc::clone(config), plan: config.plan(), parameters: parameters.clone() }
    }

    fn infer(&self, batch: &Batch) -> Flat {
        self.forward(batch).into()
    }

    fn loss(&self, batch: &Batch) -> Tensor<1> {
        mean_squared_error(self.forward(batch), batch.target.clone().expect("a batch with targets"))
    }
}

impl UNet2DCondition {
    /// The answer `[B, out_channels, H, W]`.
    fn forward(&self, batch: &Batch) -> Tensor<4> {
        let time = silu(self.embed_time(batch));
        let context = &batch.encoder_hidden_states;
        let mut x = self.conv("conv_in", batch.sample.clone(), 1, self.config.conv_in_kernel / 2);
        let mut skips = vec![x.clone()];
        for level in &self.plan.down {
            x = self.descend(level, x, &time, context, &mut skips);
        }
        let (before, transformer, after) = &self.plan.mid;
        x = self.resnet(before, x, &time);
        x = self.transformer(transformer, x, context);
        x = self.resnet(after, x, &time);
        for level in &self.plan.up {
            x = self.ascend(level, x, &time, context, &mut skips);
        }
        let x = silu(self.group_norm("conv_norm_out", x, self.config.norm_eps));
        self.conv("conv_out", x, 1, self.config.conv_out_kernel / 2)
    }

    /// The time embedding `[B, time_width]`: sinusoids through two linear layers.
    fn embed_time(&self, batch: &Batch) -> Tensor<2> {
        let features: Vec<f32> =
            batch.timestep.iter().flat_map(|&t| self.config.time_features(t)).map(|value| value as f32).collect();
        let shape = [batch.timestep.len(), features.len() / batch.timestep.len()];
        let features = Tensor::from_data(TensorData::new(features, shape), &batch.device);
        let hidden = silu(self.linear("time_embedding.linear_1").forward(features));
        self.linear("time_embedding.linear_2").forward(hidden)
    }

    fn descend(
        &self,
        level: &Level,
        mut x: Tensor<4>,
        time: &Tensor<2>,
        context: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for layer in &level.layers {
            x = self.resnet(&layer.resnet, x, time);
            if let Some(transformer) = &layer.transformer {
                x = self.transformer(transformer, x, context);
            }
            skips.push(x.clone());
        }
        if let Some((name, _)) = &level.sampler {
            x = self.conv(name, x, 2, 1);
            skips.push(x.clone());
        }
        x
    }

    fn ascend(
        &self,
        level: &Level,
        mut x: Tensor<4>,
        time: &Tensor<2>,
        context: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for layer in &level.layers {
            let skip = skips.pop().expect("a skip connection for each layer on the way up");
            x = self.resnet(&layer.resnet, Tensor::cat(vec![x, skip], 1), time);
            if let Some(transformer) = &layer.transformer {
                x = self.transformer(transformer, x, context);
            }
        }
        if let Some((name, _)) = &level.sampler {
            let doubled = InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
            x = self.conv(name, interpolate(x, doubled), 1, 1);
        }
        x
    }

    /// Residual block; `time` `[B, time_width]` is already through silu.
    fn resnet(&self, block: &Resnet, x: Tensor<4>, time: &Tensor<2>) -> Tensor<4> {
        let name = |part: &str| format!("{}.{part}", block.name);
        let eps = self.config.norm_eps;
        let h = self.conv(&name("conv1"), silu(self.group_norm(&name("norm1"), x.clone(), eps)), 1, 1);
        let shift = self.linear(&name("time_emb_proj")).forward(time.clone());
        let [b, c] = shift.dims();
        let h = h + shift.reshape([b, c, 1, 1]);
        let h = self.conv(&name("conv2"), silu(self.group_norm(&name("norm2"), h, eps)), 1, 1);
        let shortcut = if block.inp == block.out { x } else { self.conv(&name("conv_shortcut"), x, 1, 0) };
        shortcut + h
    }

    /// Spatial transformer over the pixels of `x` `[B, C, H, W]`.
    fn transformer(&self, block: &Transformer, x: Tensor<4>, context: &Tensor<3>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let normed = self.group_norm(&format!("{}.norm", block.name), x.clone(), TRANSFORMER_GROUP_NORM_EPS);
        let pixels = normed.reshape([b, c, h * w]).swap_dims(1, 2);
        let mut y = self.pointwise(&format!("{}.proj_in", block.name), block.channels).forward(pixels);
        for i in 0..block.depth {
            y = self.transformer_block(&format!("{}.transformer_blocks.{i}", block.name), block.heads, y, context);
        }
        let y = self.pointwise(&format!("{}.proj_out", block.name), block.channels).forward(y);
        x + y.swap_dims(1, 2).reshape([b, c, h, w])
    }

    /// Self-attention, attention to the text, and a gated feed-forward layer; `x` `[B, H * W, C]`.
    fn transformer_block(&self, name: &str, heads: usize, x: Tensor<3>, context: &Tensor<3>) -> Tensor<3> {
        let norm = |part: &str| LayerNorm::load(&self.parameters, &format!("{name}.{part}"), LAYER_NORM_EPS);
        let h = norm("norm1").forward(x.clone());
        let x = x + self.attend(&format!("{name}.attn1"), heads, h.clone(), h);
        let h = norm("norm2").forward(x.clone());
        let x = x + self.attend(&format!("{name}.attn2"), heads, h, context.clone());
        let h = self.linear(&format!("{name}.ff.net.0.proj")).forward(norm("norm3").forward(x.clone()));
        let width = h.dims()[2] / 2;
        let gated = h.clone().narrow(2, 0, width) * gelu(h.narrow(2, width, width));
        x + self.linear(&format!("{name}.ff.net.2")).forward(gated)
    }

    fn attend(&self, name: &str, count: usize, x: Tensor<3>, source: Tensor<3>) -> Tensor<3> {
        let project = |part: &str, x: Tensor<3>| heads(self.linear(&format!("{name}.{part}")).forward(x), count);
        let (q, k, v) = (project("to_q", x), project("to_k", source.clone()), project("to_v", source));
        self.linear(&format!("{name}.to_out.0")).forward(attention(q, k, v, Visible::All))
    }

    fn linear(&self, name: &str) -> Linear {
        Linear::load(&self.parameters, name)
    }

    /// A projection of pixels: a linear layer, or a 1x1 convolution, which is one in another shape.
    fn pointwise(&self, name: &str, channels: usize) -> Linear {
        if self.config.use_linear_projection {
            return self.linear(name);
        }
        let weight: Tensor<4> = self.parameters.get(&format!("{name}.weight"));
        let weight = weight.reshape([channels, channels]).transpose();
        Linear { weight, bias: self.parameters.find(&format!("{name}.bias")) }
    }

    fn conv(&self, name: &str, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let (weight, bias) =
            (self.parameters.get(&format!("{name}.weight")), self.parameters.find(&format!("{name}.bias")));
        conv2d(x, weight, bias, stride, padding)
    }

    fn group_norm(&self, name: &str, x: Tensor<4>, eps: f64) -> Tensor<4> {
        let (weight, bias) =
            (self.parameters.get(&format!("{name}.weight")), self.parameters.get(&format!("{name}.bias")));
        group_norm(x, self.config.norm_num_groups, weight, bias, eps)
    }
}
