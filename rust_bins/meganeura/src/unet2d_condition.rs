//! `unet2d-condition`: diffusers `UNet2DConditionModel` (Rombach et al. 2022).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::unet2d_inputs::UNet2DConditionInputs;
use arena_runner::architecture::unet2d_plan::{LAYER_NORM_EPS, Resnet, TRANSFORMER_GROUP_NORM_EPS, Transformer};
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Mask, attention};
use crate::image::{Image, Kernel};
use crate::layout::swap_leading;
use crate::net::Net;
use crate::ops::gelu;

/// A denoiser: residual blocks and spatial transformers, down and up again.
pub struct UNet2DCondition {
    config: UNet2DConditionConfig,
}

/// What every block sees besides the image.
#[derive(Clone, Copy)]
struct Condition {
    /// `silu` of the time embedding, `[B, time_width]`.
    time: NodeId,
    /// The text, time-major `[S * B, context]`.
    context: NodeId,
}

impl UNet2DCondition {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: UNet2DConditionConfig::parse(config)? })
    }

    /// The denoised sample.
    fn forward(&self, net: &mut Net, inputs: &UNet2DConditionInputs) -> Image {
        let c = &self.config;
        let condition = self.condition(net, inputs);
        let (batch, channels, height, width) = (inputs.batch, c.in_channels, inputs.height, inputs.width);
        let node = net.graph.input("sample", &[batch * channels * height * width]);
        let sample = Image { node, batch, channels, height, width };
        let plan = c.plan();

        let first = c.block_out_channels[0];
        let mut x = sample.convolve_biased(net, "conv_in", Kernel::square(first, c.conv_in_kernel, 1));
        let mut skips = vec![x];
        for level in &plan.down {
            for layer in &level.layers {
                x = self.resnet(net, x, &layer.resnet, condition);
                x = self.transformer(net, x, layer.transformer.as_ref(), condition);
                skips.push(x);
            }
            if let Some((name, channels)) = &level.sampler {
                x = x.convolve_biased(net, name, Kernel::square(*channels, 3, 2));
                skips.push(x);
            }
        }
        x = self.resnet(net, x, &plan.mid.0, condition);
        x = self.transformer(net, x, Some(&plan.mid.1), condition);
        x = self.resnet(net, x, &plan.mid.2, condition);
        for level in &plan.up {
            for layer in &level.layers {
                let skip = skips.pop().expect("the plan takes back as many skip connections as it keeps");
                x = x.concat(net, skip);
                x = self.resnet(net, x, &layer.resnet, condition);
                x = self.transformer(net, x, layer.transformer.as_ref(), condition);
            }
            if let Some((name, channels)) = &level.sampler {
                x = x.upsample(net).convolve_biased(net, name, Kernel::square(*channels, 3, 1));
            }
        }
        let x = self.norm_silu(net, x, "conv_norm_out");
        x.convolve_biased(net, "conv_out", Kernel::square(c.out_channels, c.conv_out_kernel, 1))
    }

    /// Mean squared error.
    fn loss(net: &mut Net, output: Image) -> NodeId {
        let target = net.graph.input("target", net.dims(output.node).to_vec().as_slice());
        net.graph.mse_loss(output.node, target)
    }

    fn condition(&self, net: &mut Net, inputs: &UNet2DConditionInputs) -> Condition {
        let c = &self.config;
        let features = net.graph.input("time_features", &[inputs.batch, c.block_out_channels[0]]);
        let hidden = net.linear(features, "time_embedding.linear_1", true);
        let hidden = net.graph.silu(hidden);
        let embedded = net.linear(hidden, "time_embedding.linear_2", true);
        Condition {
            time: net.graph.silu(embedded),
            context: net.graph.input("encoder_hidden_states", &[inputs.seq * inputs.batch, c.context()]),
        }
    }

    fn resnet(&self, net: &mut Net, x: Image, resnet: &Resnet, condition: Condition) -> Image {
        let (name, kernel) = (&resnet.name, Kernel::square(resnet.out, 3, 1));
        let hidden = self.norm_silu(net, x, &format!("{name}.norm1"));
        let hidden = hidden.convolve_biased(net, &format!("{name}.conv1"), kernel);
        let time = net.linear(condition.time, &format!("{name}.time_emb_proj"), true);
        let hidden = hidden.add_to_pixels(net, time);
        let hidden = self.norm_silu(net, hidden, &format!("{name}.norm2"));
        let hidden = hidden.convolve_biased(net, &format!("{name}.conv2"), kernel);
        let shortcut = if resnet.inp == resnet.out {
            x
        } else {
            x.convolve_biased(net, &format!("{name}.conv_shortcut"), Kernel::square(resnet.out, 1, 1))
        };
        shortcut.add(net, hidden)
    }

    fn norm_silu(&self, net: &mut Net, x: Image, name: &str) -> Image {
        let x = x.group_norm(net, name, self.config.norm_num_groups, self.config.norm_eps);
        x.with(net.graph.silu(x.node))
    }

    fn transformer(&self, net: &mut Net, x: Image, transformer: Option<&Transformer>, condition: Condition) -> Image {
        let Some(transformer) = transformer else { return x };
        let name = &transformer.name;
        let normed =
            x.group_norm(net, &format!("{name}.norm"), self.config.norm_num_groups, TRANSFORMER_GROUP_NORM_EPS);
        let tokens = normed.tokens(net);
        let mut hidden = projection(net, tokens, &format!("{name}.proj_in"), transformer.channels);
        for block in 0..transformer.depth {
            hidden =
                block_of(net, hidden, &format!("{name}.transformer_blocks.{block}"), transformer, x.batch, condition);
        }
        let hidden = projection(net, hidden, &format!("{name}.proj_out"), transformer.channels);
        let hidden = x.with_tokens(net, hidden);
        x.add(net, hidden)
    }
}

/// A 1x1 convolution is a linear layer on every pixel; the checkpoint may have either shape.
fn projection(net: &mut Net, x: NodeId, name: &str, channels: usize) -> NodeId {
    let weight = net.parameter_as(&format!("{name}.weight"), &[channels, channels]);
    let bias = net.parameter(&format!("{name}.bias"));
    let product = net.graph.matmul_bt(x, weight);
    net.graph.bias_add(product, bias)
}

/// Self-attention, cross-attention and a gated feed-forward layer, each behind a layer norm and a residual.
fn block_of(net: &mut Net, x: NodeId, name: &str, shape: &Transformer, batch: usize, condition: Condition) -> NodeId {
    let mut x = x;
    for (norm, layer, source) in [("norm1", "attn1", None), ("norm2", "attn2", Some(condition.context))] {
        let normed = net.layer_norm(x, &format!("{name}.{norm}"), LAYER_NORM_EPS);
        let source = source.unwrap_or(normed);
        let qkv = [("to_q", normed), ("to_k", source), ("to_v", source)]
            .map(|(projection, x)| net.linear(x, &format!("{name}.{layer}.{projection}"), false));
        let heads = (shape.heads, shape.heads);
        let mixed = attention(net, qkv, batch, heads, shape.channels / shape.heads, Mask::None);
        let mixed = net.linear(mixed, &format!("{name}.{layer}.to_out.0"), true);
        x = net.graph.add(x, mixed);
    }
    let normed = net.layer_norm(x, &format!("{name}.norm3"), LAYER_NORM_EPS);
    let both = net.linear(normed, &format!("{name}.ff.net.0.proj"), true);
    let [hidden, gate] = net.halves(both);
    let gate = gelu(net, gate);
    let hidden = net.graph.mul(hidden, gate);
    let fed = net.linear(hidden, &format!("{name}.ff.net.2"), true);
    net.graph.add(x, fed)
}

impl Architecture for UNet2DCondition {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let output = self.forward(net, &inputs);
        let shape = vec![output.batch, output.channels, output.height, output.width];
        Ok(Head { name: "sample_out", node: output.node, shape })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let output = self.forward(net, &inputs);
        Ok(Self::loss(net, output))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let inputs = self.config.inputs(inputs, labels)?;
        let features = inputs.timestep.iter().flat_map(|&t| self.config.time_features(t.into()));
        let context = swap_leading(inputs.encoder_hidden_states, inputs.batch, inputs.seq, self.config.context());
        let mut feeds = vec![
            Feed::f32("sample", inputs.sample.to_vec()),
            Feed::f32("time_features", features.map(|value| value as f32).collect()),
            Feed::f32("encoder_hidden_states", context),
        ];
        feeds.extend(inputs.target.map(|target| Feed::f32("target", target.to_vec())));
        Ok(feeds)
    }
}
