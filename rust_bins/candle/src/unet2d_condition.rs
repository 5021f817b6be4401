//! `unet2d-condition`: diffusers `UNet2DConditionModel` (Rombach et al. 2022).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::unet2d_condition::UNet2DConditionConfig;
use arena_runner::architecture::unet2d_plan as plan;
use arena_runner::{Inputs, Result};
use candle_core::{D, Device, Tensor};

use crate::network::{Architecture, Bound, Network};
use crate::ops::{Conv, GroupNorm, LayerNorm, Linear, add_to_channels, attend, gelu, heads, mean_squared_error};
use crate::store::View;

/// The whole model.
pub struct UNet2DCondition {
    config: UNet2DConditionConfig,
    conv_in: Conv,
    time_1: Linear,
    time_2: Linear,
    down: Vec<Level>,
    mid: (Resnet, Transformer, Resnet),
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

struct Level {
    layers: Vec<(Resnet, Option<Transformer>)>,
    sampler: Option<Conv>,
}

struct Resnet {
    norm1: GroupNorm,
    conv1: Conv,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
}

struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

struct TransformerBlock {
    norm1: LayerNorm,
    attention1: Attention,
    norm2: LayerNorm,
    attention2: Attention,
    norm3: LayerNorm,
    gate: Linear,
    out: Linear,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    head_dim: usize,
}

impl Architecture for UNet2DConditionConfig {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters()
    }

    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>> {
        Ok(Box::new(UNet2DCondition::load(self, view)?))
    }
}

impl UNet2DCondition {
    /// The model over the parameters of `view`.
    fn load(config: &UNet2DConditionConfig, view: &View<'_>) -> candle_core::Result<Self> {
        let plan = config.plan();
        let levels = |levels: &[plan::Level], stride| {
            levels.iter().map(|level| Level::load(config, view, level, stride)).collect::<candle_core::Result<_>>()
        };
        Ok(Self {
            config: config.clone(),
            conv_in: Conv::load(view, "conv_in", 1, config.conv_in_kernel / 2)?,
            time_1: Linear::load(view, "time_embedding.linear_1")?,
            time_2: Linear::load(view, "time_embedding.linear_2")?,
            down: levels(&plan.down, 2)?,
            mid: (
                Resnet::load(config, view, &plan.mid.0)?,
                Transformer::load(config, view, &plan.mid.1)?,
                Resnet::load(config, view, &plan.mid.2)?,
            ),
            up: levels(&plan.up, 1)?,
            norm_out: GroupNorm::load(view, "conv_norm_out", config.norm_num_groups, config.norm_eps)?,
            conv_out: Conv::load(view, "conv_out", 1, config.conv_out_kernel / 2)?,
        })
    }

    /// `timestep` `[B]`, on the host, to `[B, time width]`.
    fn embed_time(&self, timestep: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
        let features = timestep.to_vec1::<f32>()?.into_iter().flat_map(|t| self.config.time_features(t.into()));
        let features: Vec<f32> = features.map(|feature| feature as f32).collect();
        let features = Tensor::from_vec(features, (timestep.dim(0)?, self.config.block_out_channels[0]), device)?;
        self.time_2.forward(&self.time_1.forward(&features)?.silu()?)
    }
}

impl Network for UNet2DCondition {
    fn output_name(&self) -> &'static str {
        "sample_out"
    }

    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound> {
        let (c, inputs) = (&self.config, self.config.inputs(inputs, with_loss)?);
        let image = |channels| [inputs.batch, channels, inputs.height, inputs.width];
        let bound = Bound::on(device)
            .f32("sample", inputs.sample, &image(c.in_channels))?
            .on_host("timestep", inputs.timestep)?
            .f32("context", inputs.encoder_hidden_states, &[inputs.batch, inputs.seq, c.context()])?;
        match inputs.target {
            None => Ok(bound),
            Some(target) => bound.f32("target", target, &image(c.out_channels)),
        }
    }

    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let context = inputs.get("context")?;
        // Every residual block takes the embedding through a silu first.
        let time = self.embed_time(inputs.get("timestep")?, inputs.device())?.silu()?;
        let mut x = self.conv_in.forward(inputs.get("sample")?)?;
        let mut skips = vec![x.clone()];
        for level in &self.down {
            for (resnet, transformer) in &level.layers {
                x = layer(resnet, transformer.as_ref(), &x, &time, context)?;
                skips.push(x.clone());
            }
            if let Some(sampler) = &level.sampler {
                x = sampler.forward(&x)?;
                skips.push(x.clone());
            }
        }
        x = layer(&self.mid.0, Some(&self.mid.1), &x, &time, context)?;
        x = self.mid.2.forward(&x, &time)?;
        for level in &self.up {
            for (resnet, transformer) in &level.layers {
                let skip = skips.pop().ok_or_else(|| candle_core::Error::Msg("no skip connection is left".into()))?;
                x = layer(resnet, transformer.as_ref(), &Tensor::cat(&[x, skip], 1)?, &time, context)?;
            }
            if let Some(sampler) = &level.sampler {
                x = sampler.forward(&doubled(&x)?)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward(&x)?.silu()?)
    }

    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        mean_squared_error(&self.forward(inputs)?, inputs.get("target")?)
    }
}

fn layer(
    resnet: &Resnet,
    transformer: Option<&Transformer>,
    x: &Tensor,
    time: &Tensor,
    context: &Tensor,
) -> candle_core::Result<Tensor> {
    let x = resnet.forward(x, time)?;
    match transformer {
        None => Ok(x),
        Some(transformer) => transformer.forward(&x, context),
    }
}

/// Every pixel of `x` `[B, C, H, W]` twice in both directions. Candle's `upsample_nearest2d` overwrites the gradient
/// that its input already has; a broadcast does not.
fn doubled(x: &Tensor) -> candle_core::Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    x.reshape((b, c, h, 1, w, 1))?.broadcast_as((b, c, h, 2, w, 2))?.reshape((b, c, 2 * h, 2 * w))
}

impl Level {
    fn load(
        config: &UNet2DConditionConfig,
        view: &View<'_>,
        level: &plan::Level,
        stride: usize,
    ) -> candle_core::Result<Self> {
        let load = |layer: &plan::Layer| {
            let transformer = layer.transformer.as_ref().map(|part| Transformer::load(config, view, part));
            Ok((Resnet::load(config, view, &layer.resnet)?, transformer.transpose()?))
        };
        Ok(Self {
            layers: level.layers.iter().map(load).collect::<candle_core::Result<_>>()?,
            sampler: level.sampler.as_ref().map(|(name, _)| Conv::load(view, name, stride, 1)).transpose()?,
        })
    }
}

impl Resnet {
    fn load(config: &UNet2DConditionConfig, view: &View<'_>, resnet: &plan::Resnet) -> candle_core::Result<Self> {
        let name = |part: &str| format!("{}.{part}", resnet.name);
        let norm = |part| GroupNorm::load(view, &name(part), config.norm_num_groups, config.norm_eps);
        let shortcut = resnet.inp != resnet.out;
        Ok(Self {
            norm1: norm("norm1")?,
            conv1: Conv::load(view, &name("conv1"), 1, 1)?,
            time: Linear::load(view, &name("time_emb_proj"))?,
            norm2: norm("norm2")?,
            conv2: Conv::load(view, &name("conv2"), 1, 1)?,
            shortcut: shortcut.then(|| Conv::load(view, &name("conv_shortcut"), 1, 0)).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, time: &Tensor) -> candle_core::Result<Tensor> {
        let y = self.conv1.forward(&self.norm1.forward(x)?.silu()?)?;
        let y = add_to_channels(&y, &self.time.forward(time)?)?;
        let y = self.conv2.forward(&self.norm2.forward(&y)?.silu()?)?;
        match &self.shortcut {
            None => x + y,
            Some(shortcut) => shortcut.forward(x)? + y,
        }
    }
}

impl Transformer {
    fn load(config: &UNet2DConditionConfig, view: &View<'_>, part: &plan::Transformer) -> candle_core::Result<Self> {
        let name = &part.name;
        // A 1x1 convolution of pixels is a linear layer: only the checkpoint's shape differs.
        let projection = |part: &str| {
            let weight = view.get(&format!("{name}.{part}.weight"))?.flatten_from(1)?;
            Ok::<_, candle_core::Error>(Linear::new(weight, view.find(&format!("{name}.{part}.bias"))?))
        };
        let head_dim = part.channels / part.heads;
        let block = |i| TransformerBlock::load(view, &format!("{name}.transformer_blocks.{i}"), head_dim);
        let eps = plan::TRANSFORMER_GROUP_NORM_EPS;
        Ok(Self {
            norm: GroupNorm::load(view, &format!("{name}.norm"), config.norm_num_groups, eps)?,
            proj_in: projection("proj_in")?,
            blocks: (0..part.depth).map(block).collect::<candle_core::Result<_>>()?,
            proj_out: projection("proj_out")?,
        })
    }

    /// `x` `[B, C, H, W]`, as a sequence of pixels.
    fn forward(&self, x: &Tensor, context: &Tensor) -> candle_core::Result<Tensor> {
        let pixels = self.norm.forward(x)?.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        let mut y = self.proj_in.forward(&pixels)?;
        for block in &self.blocks {
            y = block.forward(&y, context)?;
        }
        x + self.proj_out.forward(&y)?.transpose(1, 2)?.reshape(x.shape())?
    }
}

impl TransformerBlock {
    fn load(view: &View<'_>, name: &str, head_dim: usize) -> candle_core::Result<Self> {
        let norm = |part| LayerNorm::load(view, &format!("{name}.{part}"), plan::LAYER_NORM_EPS);
        Ok(Self {
            norm1: norm("norm1")?,
            attention1: Attention::load(view, &format!("{name}.attn1"), head_dim)?,
            norm2: norm("norm2")?,
            attention2: Attention::load(view, &format!("{name}.attn2"), head_dim)?,
            norm3: norm("norm3")?,
            gate: Linear::load(view, &format!("{name}.ff.net.0.proj"))?,
            out: Linear::load(view, &format!("{name}.ff.net.2"))?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> candle_core::Result<Tensor> {
        let y = self.norm1.forward(x)?;
        let x = (x + self.attention1.forward(&y, &y)?)?;
        let x = (&x + self.attention2.forward(&self.norm2.forward(&x)?, context)?)?;
        // The first half of the projection is gated by the second.
        let y = self.gate.forward(&self.norm3.forward(&x)?)?;
        let width = y.dim(D::Minus1)? / 2;
        let gate = gelu(&y.narrow(D::Minus1, width, width)?.contiguous()?)?;
        &x + self.out.forward(&(y.narrow(D::Minus1, 0, width)? * gate)?)?
    }
}

impl Attention {
    fn load(view: &View<'_>, name: &str, head_dim: usize) -> candle_core::Result<Self> {
        let linear = |part| Linear::load(view, &format!("{name}.{part}"));
        Ok(Self { q: linear("to_q")?, k: linear("to_k")?, v: linear("to_v")?, out: linear("to_out.0")?, head_dim })
    }

    fn forward(&self, x: &Tensor, source: &Tensor) -> candle_core::Result<Tensor> {
        let q = heads(&self.q.forward(x)?, self.head_dim)?;
        let k = heads(&self.k.forward(source)?, self.head_dim)?;
        let v = heads(&self.v.forward(source)?, self.head_dim)?;
        self.out.forward(&attend(&q, &k, &v, None)?)
    }
}
