//! `resnet`: residual convolutional network with frozen batch-norm statistics.

use std::rc::Rc;

use arena_runner::architecture::resnet::{BATCH_NORM_EPS, Block, ConvLayer, ResNetConfig};
use arena_runner::{Inputs, Result};
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ops::{Linear, conv2d, cross_entropy};
use crate::parameters::{Handles, Table};
use crate::program::{Architecture, Flat};

/// The model on one set of parameters.
pub struct ResNet {
    stem: ConvLayer,
    blocks: Vec<Block>,
    parameters: Handles,
}

/// The inputs on the device.
pub struct Batch {
    /// `[B, channels, H, W]`.
    pixel_values: Tensor<4>,
    /// `[B]`.
    labels: Option<Tensor<1, Int>>,
}

/// The parameters as they are held on the device: the classifier as `[in, out]`.
pub fn table(config: &ResNetConfig) -> Table {
    Table::new(config.parameters(), |_| true)
}

impl Architecture for ResNet {
    type Config = ResNetConfig;
    type Batch = Batch;
    const OUTPUT: &'static str = "logits";

    fn batch(config: &ResNetConfig, inputs: &Inputs, targets: bool, device: &Device) -> Result<Batch> {
        let inputs = config.inputs(inputs, targets)?;
        let shape = [inputs.batch, config.num_channels, inputs.height, inputs.width];
        Ok(Batch {
            pixel_values: Tensor::from_data(TensorData::new(inputs.pixel_values.to_vec(), shape), device),
            labels: inputs
                .labels
                .map(|labels| Tensor::from_data(TensorData::new(labels.to_vec(), [inputs.batch]), device)),
        })
    }

    fn load(config: &Rc<ResNetConfig>, parameters: &Handles) -> Self {
        Self { stem: config.stem(), blocks: config.blocks(), parameters: parameters.clone() }
    }

    fn infer(&self, batch: &Batch) -> Flat {
        self.forward(batch.pixel_values.clone()).into()
    }

    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let labels = batch.labels.clone().expect("a batch with labels");
        cross_entropy(self.forward(batch.pixel_values.clone()), labels)
    }
}

impl ResNet {
    /// The logits `[B, labels]` of `x` `[B, channels, H, W]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let pool = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        let mut x = max_pool2d(self.conv(&self.stem, x), pool);
        for block in &self.blocks {
            x = self.block(block, x);
        }
        let [b, c, h, w] = x.dims();
        let pooled = x.reshape([b, c, h * w]).mean_dim(2).reshape([b, c]);
        Linear::load(&self.parameters, "classifier.1").forward(pooled)
    }

    fn block(&self, block: &Block, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &block.shortcut {
            Some(layer) => self.conv(layer, x.clone()),
            None => x.clone(),
        };
        let y = block.layers.iter().fold(x, |x, layer| self.conv(layer, x));
        relu(y + shortcut)
    }

    /// Convolution, batch norm by the running statistics, and relu where the layer has one.
    ///
    /// With fixed statistics the norm is a scale and a shift of each output channel. Without a tape they are taken into
    /// the weight and the bias, in every execution anew, so that the image is written once instead of three times. On a
    /// tape that would make the scale's gradient a sum over the weight's, which cancels: there only the mean is taken
    /// into the bias.
    fn conv(&self, layer: &ConvLayer, x: Tensor<4>) -> Tensor<4> {
        let weight: Tensor<4> = self.parameters.get(&format!("{}.convolution.weight", layer.name));
        let vector = |part: &str| self.parameters.get::<1>(&format!("{}.normalization.{part}", layer.name));
        let scale = vector("weight") / vector("running_var").add_scalar(BATCH_NORM_EPS).sqrt();
        let (mean, shift) = (vector("running_mean"), vector("bias"));
        let (stride, padding, channels) = (layer.stride, layer.kernel / 2, layer.out_channels);
        let y = if weight.device().is_autodiff() {
            let centred = conv2d(x, weight, Some(mean.neg()), stride, padding);
            centred * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1])
        } else {
            let bias = shift - mean * scale.clone();
            conv2d(x, weight * scale.reshape([channels, 1, 1, 1]), Some(bias), stride, padding)
        };
        if layer.activation { relu(y) } else { y }
    }
}
