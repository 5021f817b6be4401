//! `resnet`: residual blocks of convolutions with frozen batch norms (transformers `ResNetForImageClassification` in
//! evaluation mode).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::resnet::{BATCH_NORM_EPS, Block, ConvLayer, ResNetConfig};
use arena_runner::{Inputs, Result};
use serde_json::{Map, Value};

use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
pub struct ResNet {
    config: ResNetConfig,
}

impl ResNet {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `unsupported`, naming a key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: ResNetConfig::parse(config)? })
    }
}

fn conv_layer(scope: &mut Scope, layer: &ConvLayer, x: Tensor) -> Tensor {
    let weight = scope.parameter(&format!("{}.convolution.weight", layer.name));
    let y = nn::conv2d(weight, x, [layer.stride; 2], [layer.kernel / 2; 2]);
    let y = nn::frozen_batch_norm(scope, &format!("{}.normalization", layer.name), y, BATCH_NORM_EPS);
    if layer.activation { y.relu() } else { y }
}

fn block(scope: &mut Scope, block: &Block, x: Tensor) -> Tensor {
    let y = block.layers.iter().fold(x, |y, layer| conv_layer(scope, layer, y));
    let shortcut = block.shortcut.as_ref().map_or(x, |layer| conv_layer(scope, layer, x));
    (y + shortcut).relu()
}

impl Architecture for ResNet {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let checked = self.config.inputs(inputs, labels)?;
        let shape = [checked.batch, self.config.num_channels, checked.height, checked.width];
        let mut feeds = vec![Feed::real("pixel_values", &shape, checked.pixel_values)];
        if let Some(labels) = checked.labels {
            feeds.push(Feed::classes("labels", labels.iter().copied()));
        }
        Ok(feeds)
    }

    fn output(&self) -> &'static str {
        "logits"
    }

    fn forward(&self, scope: &mut Scope) -> Tensor {
        let x = {
            let pixels = scope.input("pixel_values");
            conv_layer(scope, &self.config.stem(), pixels)
        };
        let x = nn::max_pool(x, 3, 2, 1);
        let x = self.config.blocks().iter().fold(x, |x, layers| block(scope, layers, x));
        let pooled = x.reshape(&[x.dim(0), x.dim(1), x.dim(2) * x.dim(3)]).mean(2);
        nn::linear(scope, "classifier.1", pooled, true)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let logits = self.forward(scope);
        nn::cross_entropy(scope, logits, "labels")
    }
}
