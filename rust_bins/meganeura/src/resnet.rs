//! `resnet`: transformers `ResNetForImageClassification` (He et al. 2015), batch-norm statistics frozen.

use arena_runner::architecture::Parameter;
use arena_runner::architecture::resnet::{BATCH_NORM_EPS, Block, ConvLayer, ResNetConfig, ResNetInputs};
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::image::{Image, Kernel};
use crate::layout::one_hot;
use crate::net::Net;

/// Convolutions with residuals, pooled into a classifier.
pub struct ResNet {
    config: ResNetConfig,
}

impl ResNet {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: ResNetConfig::parse(config)? })
    }

    /// Logits `[B, K]`.
    fn forward(&self, net: &mut Net, inputs: &ResNetInputs) -> NodeId {
        let (batch, channels, height, width) = (inputs.batch, self.config.num_channels, inputs.height, inputs.width);
        let node = net.graph.input("pixel_values", &[batch * channels * height * width]);
        let image = Image { node, batch, channels, height, width };
        let image = convolve(net, image, &self.config.stem());
        let mut x = image.max_pool(net);
        for block in self.config.blocks() {
            x = residual(net, x, &block);
        }
        let pooled = net.graph.global_avg_pool(x.node, batch as u32, x.channels as u32, x.pixels() as u32);
        net.linear(pooled, "classifier.1", true)
    }

    /// Mean cross entropy.
    fn loss(net: &mut Net, logits: NodeId) -> NodeId {
        let labels = net.graph.input("labels", net.dims(logits).to_vec().as_slice());
        net.graph.cross_entropy_loss(logits, labels)
    }
}

fn residual(net: &mut Net, x: Image, block: &Block) -> Image {
    let shortcut = match &block.shortcut {
        Some(layer) => convolve(net, x, layer),
        None => x,
    };
    let x = block.layers.iter().fold(x, |x, layer| convolve(net, x, layer));
    let sum = x.add(net, shortcut);
    sum.with(net.graph.relu(sum.node))
}

/// A convolution, its batch norm in evaluation mode, and `relu` where the layer has one.
fn convolve(net: &mut Net, x: Image, layer: &ConvLayer) -> Image {
    let kernel = Kernel::square(layer.out_channels, layer.kernel, layer.stride);
    let x = x.convolve(net, &format!("{}.convolution", layer.name), kernel);
    let norm = format!("{}.normalization", layer.name);
    let opposite_mean = net.frozen(&format!("{norm}.running_mean"), "opposite", |mean| -mean);
    let inverse_deviation = net.frozen(&format!("{norm}.running_var"), "inverse_deviation", |variance| {
        (f64::from(variance) + BATCH_NORM_EPS).sqrt().recip() as f32
    });
    let [weight, bias] = ["weight", "bias"].map(|part| net.parameter(&format!("{norm}.{part}")));
    let factor = net.graph.mul(weight, inverse_deviation);
    let x = x.add_to_channels(net, opposite_mean);
    let x = x.scale_channels(net, factor);
    let x = x.add_to_channels(net, bias);
    if layer.activation { x.with(net.graph.relu(x.node)) } else { x }
}

impl Architecture for ResNet {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let node = self.forward(net, &inputs);
        Ok(Head { name: "logits", node, shape: vec![inputs.batch, self.config.num_labels] })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let logits = self.forward(net, &inputs);
        Ok(Self::loss(net, logits))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let inputs = self.config.inputs(inputs, labels)?;
        let mut feeds = vec![Feed::f32("pixel_values", inputs.pixel_values.to_vec())];
        if let Some(labels) = inputs.labels {
            let labels = labels.iter().map(|&id| usize::try_from(id).ok());
            feeds.push(Feed::f32("labels", one_hot(labels, self.config.num_labels, 1.0)));
        }
        Ok(feeds)
    }
}
