//! `resnet`: transformers `ResNetForImageClassification` in evaluation mode.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Parameter, config};
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// Added to the running variance in every batch norm: `torch.nn.BatchNorm2d`'s default, which the model does not change.
pub const BATCH_NORM_EPS: f64 = 1e-5;

/// How much narrower the inner convolutions of a bottleneck are.
const REDUCTION: usize = 4;

/// The keys of transformers' `ResNetConfig` that change the numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ResNetConfig {
    /// Channels of the image.
    #[serde(default = "default_num_channels")]
    pub num_channels: usize,
    /// Channels after the stem.
    #[serde(default = "default_embedding_size")]
    pub embedding_size: usize,
    /// Channels after each stage.
    #[serde(default = "default_hidden_sizes")]
    pub hidden_sizes: Vec<usize>,
    /// Blocks of each stage.
    #[serde(default = "default_depths")]
    pub depths: Vec<usize>,
    /// What a block is made of.
    #[serde(default)]
    pub layer_type: LayerType,
    /// Whether the first stage halves the image too.
    #[serde(default)]
    pub downsample_in_first_stage: bool,
    /// Whether the first instead of the second convolution of a bottleneck has the stride.
    #[serde(default)]
    pub downsample_in_bottleneck: bool,
    /// Classes; as many as `id2label` names when absent, and two without either.
    #[serde(default = "default_num_labels")]
    pub num_labels: usize,
}

/// What a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerType {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1, the inner ones a quarter as wide.
    #[default]
    Bottleneck,
}

/// A convolution without bias, padded by `kernel / 2`, and its batch norm: `NAME.convolution.weight`,
/// `NAME.normalization.{weight, bias, running_mean, running_var}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvLayer {
    /// The checkpoint's prefix.
    pub name: String,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Whether a `relu` follows the norm.
    pub activation: bool,
}

/// `relu(layers(x) + shortcut(x))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Convolutions, one after the other.
    pub layers: Vec<ConvLayer>,
    /// The projection of the input; the identity when none.
    pub shortcut: Option<ConvLayer>,
}

fn default_num_channels() -> usize {
    3
}

fn default_embedding_size() -> usize {
    64
}

fn default_hidden_sizes() -> Vec<usize> {
    vec![256, 512, 1024, 2048]
}

fn default_depths() -> Vec<usize> {
    vec![3, 4, 6, 3]
}

fn default_num_labels() -> usize {
    2
}

/// Keys of the public configuration that do not change the numbers of the tasks here.
const NEUTRAL: &[&str] = &["label2id", "out_features", "out_indices", "stage_names", "initializer_range"];

impl ResNetConfig {
    /// Reads the public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key, when a key is unknown or has a value that the runners do not honour.
    pub fn parse(map: &Map<String, Value>) -> Result<Self> {
        let mut map = map.clone();
        config::require(&mut map, "hidden_act", "relu")?;
        config::require(&mut map, "problem_type", "single_label_classification")?;
        if let Some(Value::Object(labels)) = map.remove("id2label") {
            map.entry("num_labels").or_insert_with(|| labels.len().into());
        }
        let parsed: Self = config::strict("resnet", map, NEUTRAL)?;
        if parsed.hidden_sizes.is_empty() || parsed.hidden_sizes.len() != parsed.depths.len() {
            return Err(Error::unsupported(format!(
                "resnet: hidden_sizes {:?} and depths {:?} are not one a stage",
                parsed.hidden_sizes, parsed.depths
            )));
        }
        if parsed.depths.contains(&0) {
            return Err(Error::unsupported(format!("resnet: depths {:?} has a stage without blocks", parsed.depths)));
        }
        let narrow = parsed.hidden_sizes.iter().any(|&n| n < REDUCTION) && parsed.layer_type == LayerType::Bottleneck;
        if narrow || parsed.hidden_sizes.contains(&0) || parsed.embedding_size == 0 || parsed.num_channels == 0 {
            return Err(Error::unsupported(format!("resnet: hidden_sizes {:?} are too narrow", parsed.hidden_sizes)));
        }
        if parsed.num_labels < 2 {
            // transformers makes a regression of one label, and no classifier of none.
            return Err(Error::unsupported(format!("resnet: num_labels {} is not at least 2", parsed.num_labels)));
        }
        Ok(parsed)
    }

    /// The first convolution; a max-pooling of 3x3, stride 2, padding 1 follows it.
    pub fn stem(&self) -> ConvLayer {
        ConvLayer {
            name: "resnet.embedder.embedder".into(),
            in_channels: self.num_channels,
            out_channels: self.embedding_size,
            kernel: 7,
            stride: 2,
            activation: true,
        }
    }

    /// Every block, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![];
        let mut in_channels = self.embedding_size;
        for (stage, (&out_channels, &depth)) in self.hidden_sizes.iter().zip(&self.depths).enumerate() {
            for i in 0..depth {
                let halves = i == 0 && (stage > 0 || self.downsample_in_first_stage);
                let name = format!("resnet.encoder.stages.{stage}.layers.{i}");
                blocks.push(self.block(&name, in_channels, out_channels, if halves { 2 } else { 1 }));
                in_channels = out_channels;
            }
        }
        blocks
    }

    fn block(&self, name: &str, in_channels: usize, out_channels: usize, stride: usize) -> Block {
        // (output channels, kernel, stride) of each convolution
        let layers = match self.layer_type {
            LayerType::Basic => vec![(out_channels, 3, stride), (out_channels, 3, 1)],
            LayerType::Bottleneck => {
                let inner = out_channels / REDUCTION;
                let (first, second) = if self.downsample_in_bottleneck { (stride, 1) } else { (1, stride) };
                vec![(inner, 1, first), (inner, 3, second), (out_channels, 1, 1)]
            }
        };
        let (last, mut channels) = (layers.len() - 1, in_channels);
        let layer = |(i, (out_channels, kernel, stride))| {
            let in_channels = std::mem::replace(&mut channels, out_channels);
            ConvLayer {
                name: format!("{name}.layer.{i}"),
                in_channels,
                out_channels,
                kernel,
                stride,
                activation: i < last,
            }
        };
        Block {
            layers: layers.into_iter().enumerate().map(layer).collect(),
            shortcut: (in_channels != out_channels || stride != 1).then(|| ConvLayer {
                name: format!("{name}.shortcut"),
                in_channels,
                out_channels,
                kernel: 1,
                stride,
                activation: false,
            }),
        }
    }

    /// Every parameter in the checkpoint's order; the running statistics are frozen.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = self.stem().parameters();
        for block in self.blocks() {
            all.extend(block.shortcut.iter().chain(&block.layers).flat_map(ConvLayer::parameters));
        }
        let width = self.hidden_sizes[self.hidden_sizes.len() - 1];
        all.push(Parameter::new("classifier.1.weight", [self.num_labels, width]));
        all.push(Parameter::new("classifier.1.bias", [self.num_labels]));
        all
    }

    /// The inputs of `infer` (and, with `labels`, of `train`), checked: shapes, and classes within the labels.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, labels: bool) -> Result<ResNetInputs<'a>> {
        let (shape, pixel_values) = inputs.f32("pixel_values")?;
        let &[batch, channels, height, width] = shape else {
            return Err(Error::invalid_inputs(format!(
                "input `pixel_values` has shape {shape:?}, expected [batch, channels, height, width]"
            )));
        };
        if channels != self.num_channels || shape.contains(&0) {
            let expected = self.num_channels;
            return Err(Error::invalid_inputs(format!(
                "input `pixel_values` has shape {shape:?}, expected {expected} channels and no empty axis"
            )));
        }
        let labels = if labels {
            let (labels_shape, labels) = inputs.i64("labels")?;
            if labels_shape != [batch] {
                return Err(Error::invalid_inputs(format!(
                    "input `labels` has shape {labels_shape:?}, expected [{batch}]"
                )));
            }
            config::ids_within("labels", labels, self.num_labels)?;
            Some(labels)
        } else {
            None
        };
        Ok(ResNetInputs { batch, height, width, pixel_values, labels })
    }
}

impl ConvLayer {
    /// The convolution's weight `[out, in, kernel, kernel]` and the norm's four vectors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let Self { name, in_channels, out_channels, kernel, .. } = self;
        let vector = |kind: &str| format!("{name}.normalization.{kind}");
        vec![
            Parameter::new(format!("{name}.convolution.weight"), [*out_channels, *in_channels, *kernel, *kernel]),
            Parameter::new(vector("weight"), [*out_channels]),
            Parameter::new(vector("bias"), [*out_channels]),
            Parameter::frozen(vector("running_mean"), [*out_channels]),
            Parameter::frozen(vector("running_var"), [*out_channels]),
        ]
    }
}

/// The inputs of a `resnet` task.
#[derive(Debug, Clone, Copy)]
pub struct ResNetInputs<'a> {
    /// B.
    pub batch: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// `[B, C, H, W]`.
    pub pixel_values: &'a [f32],
    /// `[B]`, for `train` and `step`.
    pub labels: Option<&'a [i64]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<ResNetConfig> {
        ResNetConfig::parse(value.as_object().expect("an object"))
    }

    #[test]
    fn resnet_50_has_its_published_number_of_parameters() {
        let config = parse(&json!({"num_labels": 1000})).unwrap();
        let count = |trainable| {
            let all = config.parameters();
            all.iter().filter(|p| p.trainable == trainable).map(|p| p.shape.iter().product::<usize>()).sum::<usize>()
        };
        assert_eq!((count(true), count(false)), (25_557_032, 53_120));
    }

    #[test]
    fn resnet_18_has_its_published_number_of_parameters() {
        let config = parse(&json!({
            "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "num_labels": 1000,
        }));
        let all = config.unwrap().parameters();
        let trainable = all.iter().filter(|p| p.trainable).map(|p| p.shape.iter().product::<usize>()).sum::<usize>();
        assert_eq!(trainable, 11_689_512);
    }

    #[test]
    fn labels_are_counted_by_their_names() {
        assert_eq!(parse(&json!({"id2label": {"0": "a", "1": "b", "2": "c"}})).unwrap().num_labels, 3);
    }

    #[test]
    fn a_key_that_is_not_honoured_is_named() {
        for (config, key) in [
            (json!({"hidden_act": "gelu"}), "hidden_act"),
            (json!({"layer_type": "wide"}), "wide"),
            (json!({"groups": 2}), "groups"),
            (json!({"depths": [1]}), "depths"),
        ] {
            let message = parse(&config).unwrap_err().message;
            assert!(message.contains(key), "{message}");
        }
    }
}
