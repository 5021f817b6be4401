//! `unet2d-condition`: residual blocks that hear the time step and transformers over the pixels that hear the text, down
//! and up again with skip connections (diffusers `UNet2DConditionModel`).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::unet2d_plan::{
    LAYER_NORM_EPS, Level, Plan, Resnet, TRANSFORMER_GROUP_NORM_EPS, Transformer,
};
use arena_runner::{Inputs, Result};
use serde_json::{Map, Value};

use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
pub struct UNet2DCondition {
    config: UNet2DConditionConfig,
    plan: Plan,
}

/// What every block hears: the time `[B, width]`, already through `silu`, and the text `[B, S, C]`.
#[derive(Clone, Copy)]
struct Condition {
    time: Tensor,
    text: Tensor,
}

impl UNet2DCondition {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `unsupported`, naming a key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        let config = UNet2DConditionConfig::parse(config)?;
        Ok(Self { plan: config.plan(), config })
    }

    fn descend(
        &self,
        scope: &mut Scope,
        level: &Level,
        mut x: Tensor,
        hear: Condition,
        skips: &mut Vec<Tensor>,
    ) -> Tensor {
        for layer in &level.layers {
            x = self.resnet(scope, &layer.resnet, x, hear.time);
            if let Some(transformer) = &layer.transformer {
                x = self.transformer(scope, transformer, x, hear.text);
            }
            skips.push(x);
        }
        if let Some((name, _)) = &level.sampler {
            x = nn::conv_layer(scope, name, x, 2, 1);
            skips.push(x);
        }
        x
    }

    fn ascend(
        &self,
        scope: &mut Scope,
        level: &Level,
        mut x: Tensor,
        hear: Condition,
        skips: &mut Vec<Tensor>,
    ) -> Tensor {
        for layer in &level.layers {
            let skip = skips.pop().expect("the plan pairs every layer with a skip connection");
            x = self.resnet(scope, &layer.resnet, x.concat(skip, 1), hear.time);
            if let Some(transformer) = &layer.transformer {
                x = self.transformer(scope, transformer, x, hear.text);
            }
        }
        match &level.sampler {
            Some((name, _)) => nn::conv_layer(scope, name, nn::upsample(x), 1, 1),
            None => x,
        }
    }

    fn resnet(&self, scope: &mut Scope, block: &Resnet, x: Tensor, time: Tensor) -> Tensor {
        let name = |part: &str| format!("{}.{part}", block.name);
        let (groups, eps) = (self.config.norm_num_groups, self.config.norm_eps);
        let y = nn::group_norm(scope, &name("norm1"), x, groups, eps).silu();
        let y = nn::conv_layer(scope, &name("conv1"), y, 1, 1);
        let shift = nn::linear(scope, &name("time_emb_proj"), time, true);
        let y = y + shift.reshape(&[shift.dim(0), shift.dim(1), 1, 1]);
        let y = nn::group_norm(scope, &name("norm2"), y, groups, eps).silu();
        let y = nn::conv_layer(scope, &name("conv2"), y, 1, 1);
        let shortcut = if block.inp == block.out { x } else { nn::conv_layer(scope, &name("conv_shortcut"), x, 1, 0) };
        shortcut + y
    }

    /// Transformer blocks over the pixels of `x` `[B, C, H, W]`.
    fn transformer(&self, scope: &mut Scope, block: &Transformer, x: Tensor, text: Tensor) -> Tensor {
        let &[batch, channels, height, width] = &x.shape()[..] else { panic!("an image has four axes") };
        let norm = format!("{}.norm", block.name);
        let y = nn::group_norm(scope, &norm, x, self.config.norm_num_groups, TRANSFORMER_GROUP_NORM_EPS);
        let pixels = y.reshape(&[batch, channels, height * width]).transpose();
        let mut y = pointwise(scope, &format!("{}.proj_in", block.name), pixels);
        for i in 0..block.depth {
            y = transformer_block(scope, &format!("{}.transformer_blocks.{i}", block.name), block.heads, y, text);
        }
        let y = pointwise(scope, &format!("{}.proj_out", block.name), y);
        x + y.transpose().reshape(&[batch, channels, height, width])
    }
}

/// A linear layer over channels, stored as one or as a 1x1 convolution.
fn pointwise(scope: &mut Scope, name: &str, x: Tensor) -> Tensor {
    let weight = scope.parameter(&format!("{name}.weight"));
    let bias = scope.parameter(&format!("{name}.bias"));
    nn::linear_of(weight.reshape(&[weight.dim(0), weight.dim(1)]), Some(bias), x)
}

/// Attention to the pixels, attention to the text, and a gated feed-forward layer; `x` `[B, pixels, C]`.
fn transformer_block(scope: &mut Scope, name: &str, heads: usize, x: Tensor, text: Tensor) -> Tensor {
    let norm = |scope: &mut Scope, part: &str, x| nn::layer_norm(scope, &format!("{name}.{part}"), x, LAYER_NORM_EPS);
    let normed = norm(scope, "norm1", x);
    let x = x + attention(scope, &format!("{name}.attn1"), heads, normed, normed);
    let normed = norm(scope, "norm2", x);
    let x = x + attention(scope, &format!("{name}.attn2"), heads, normed, text);
    let normed = norm(scope, "norm3", x);
    let both = nn::linear(scope, &format!("{name}.ff.net.0.proj"), normed, true);
    let width = both.dim(2) / 2;
    let gated = both.slice(2, 0..width) * both.slice(2, width..2 * width).gelu();
    x + nn::linear(scope, &format!("{name}.ff.net.2"), gated, true)
}

fn attention(scope: &mut Scope, name: &str, heads: usize, x: Tensor, source: Tensor) -> Tensor {
    let mut project = |projection: &str, x: Tensor| {
        let y = nn::linear(scope, &format!("{name}.{projection}"), x, false);
        y.reshape(&[y.dim(0), y.dim(1), heads, y.dim(2) / heads])
    };
    let (q, k, v) = (project("to_q", x), project("to_k", source), project("to_v", source));
    nn::linear(scope, &format!("{name}.to_out.0"), nn::attention(q, k, v, None), true)
}

impl Architecture for UNet2DCondition {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let c = &self.config;
        let checked = c.inputs(inputs, labels)?;
        let image = |channels| [checked.batch, channels, checked.height, checked.width];
        // Sinusoids of the time step; the angles need f64, which luminal does not have.
        let time = checked.timestep.iter().flat_map(|&t| c.time_features(t.into()));
        let time: Vec<f32> = time.map(|value| value as f32).collect();
        let mut feeds = vec![
            Feed::real("sample", &image(c.in_channels), checked.sample),
            Feed::real("time", &[checked.batch, time.len() / checked.batch], time),
            Feed::real(
                "encoder_hidden_states",
                &[checked.batch, checked.seq, c.context()],
                checked.encoder_hidden_states,
            ),
        ];
        feeds.extend(checked.target.map(|target| Feed::real("target", &image(c.out_channels), target)));
        Ok(feeds)
    }

    fn output(&self) -> &'static str {
        "sample_out"
    }

    fn forward(&self, scope: &mut Scope) -> Tensor {
        let c = &self.config;
        let time = scope.input("time");
        let time = nn::linear(scope, "time_embedding.linear_1", time, true).silu();
        let time = nn::linear(scope, "time_embedding.linear_2", time, true).silu();
        let hear = Condition { time, text: scope.input("encoder_hidden_states") };
        let sample = scope.input("sample");
        let mut x = nn::conv_layer(scope, "conv_in", sample, 1, c.conv_in_kernel / 2);
        let mut skips = vec![x];
        for level in &self.plan.down {
            x = self.descend(scope, level, x, hear, &mut skips);
        }
        let (before, transformer, after) = &self.plan.mid;
        x = self.resnet(scope, before, x, hear.time);
        x = self.transformer(scope, transformer, x, hear.text);
        x = self.resnet(scope, after, x, hear.time);
        for level in &self.plan.up {
            x = self.ascend(scope, level, x, hear, &mut skips);
        }
        let x = nn::group_norm(scope, "conv_norm_out", x, c.norm_num_groups, c.norm_eps).silu();
        nn::conv_layer(scope, "conv_out", x, 1, c.conv_out_kernel / 2)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let sample = self.forward(scope);
        nn::mean_squared_error(sample, scope.input("target"))
    }
}
