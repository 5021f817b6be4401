//! `resnet`: transformers `ResNetForImageClassification` in evaluation mode (He et al. 2015).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::resnet::{self, BATCH_NORM_EPS, ResNetConfig};
use arena_runner::{Inputs, Result};
use candle_core::{Device, Tensor};

use crate::network::{Architecture, Bound, Network};
use crate::ops::{Conv, Linear, cross_entropy, max_pool_3x3, relu, scale_channels};
use crate::store::View;

/// The whole model.
pub struct ResNet {
    config: ResNetConfig,
    stem: ConvLayer,
    blocks: Vec<Block>,
    classifier: Linear,
}

struct Block {
    layers: Vec<ConvLayer>,
    shortcut: Option<ConvLayer>,
}

/// Convolution, batch norm with frozen statistics, activation.
struct ConvLayer {
    convolution: Conv,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    activation: bool,
}

impl Architecture for ResNetConfig {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters()
    }

    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>> {
        Ok(Box::new(ResNet::load(self, view)?))
    }
}

impl ResNet {
    /// The model over the parameters of `view`.
    fn load(config: &ResNetConfig, view: &View<'_>) -> candle_core::Result<Self> {
        Ok(Self {
            config: config.clone(),
            stem: ConvLayer::load(view, &config.stem())?,
            blocks: config.blocks().iter().map(|block| Block::load(view, block)).collect::<candle_core::Result<_>>()?,
            classifier: Linear::load(view, "classifier.1")?,
        })
    }
}

impl Network for ResNet {
    fn output_name(&self) -> &'static str {
        "logits"
    }

    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound> {
        let inputs = self.config.inputs(inputs, with_loss)?;
        let shape = [inputs.batch, self.config.num_channels, inputs.height, inputs.width];
        let bound = Bound::on(device).f32("pixel_values", inputs.pixel_values, &shape)?;
        match inputs.labels {
            None => Ok(bound),
            Some(labels) => bound.ids("labels", labels, &[inputs.batch]),
        }
    }

    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let mut x = max_pool_3x3(&self.stem.forward(inputs.get("pixel_values")?)?)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.classifier.forward(&x.flatten_from(2)?.mean(2)?)
    }

    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        cross_entropy(&self.forward(inputs)?, inputs.get("labels")?)
    }
}

impl Block {
    fn load(view: &View<'_>, block: &resnet::Block) -> candle_core::Result<Self> {
        Ok(Self {
            layers: block
                .layers
                .iter()
                .map(|layer| ConvLayer::load(view, layer))
                .collect::<candle_core::Result<_>>()?,
            shortcut: block.shortcut.as_ref().map(|layer| ConvLayer::load(view, layer)).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut y = x.clone();
        for layer in &self.layers {
            y = layer.forward(&y)?;
        }
        relu(&match &self.shortcut {
            None => y + x,
            Some(shortcut) => y + shortcut.forward(x)?,
        }?)
    }
}

impl ConvLayer {
    fn load(view: &View<'_>, layer: &resnet::ConvLayer) -> candle_core::Result<Self> {
        let norm = |part| view.get(&format!("{}.normalization.{part}", layer.name));
        Ok(Self {
            convolution: Conv::load(view, &format!("{}.convolution", layer.name), layer.stride, layer.kernel / 2)?,
            weight: norm("weight")?,
            bias: norm("bias")?,
            running_mean: norm("running_mean")?,
            running_var: norm("running_var")?,
            activation: layer.activation,
        })
    }

    /// The norm is one multiplication and one addition a channel: `scale = w / sqrt(var + eps)`, `shift = b - mean scale`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let scale = (&self.weight / (&self.running_var + BATCH_NORM_EPS)?.sqrt()?)?;
        let shift = (&self.bias - (&self.running_mean * &scale)?)?;
        let y = scale_channels(&self.convolution.forward(x)?, &scale, &shift)?;
        if self.activation { relu(&y) } else { Ok(y) }
    }
}
