//! The network of `unet2d-condition` in the order of computation, and its parameters.

use super::Parameter;
use super::unet2d_condition::UNet2DConditionConfig;

/// The epsilon of the group norm in front of every spatial transformer, whatever `norm_eps` says.
pub const TRANSFORMER_GROUP_NORM_EPS: f64 = 1e-6;
/// The epsilon of the layer norms inside every transformer block.
pub const LAYER_NORM_EPS: f64 = 1e-5;

/// A residual block: `conv(silu(norm(x)))` twice, with the time embedding added between, plus a shortcut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resnet {
    /// The prefix of its parameters.
    pub name: String,
    /// Channels in; where they are not `out`, `{name}.conv_shortcut` is a 1x1 convolution.
    pub inp: usize,
    /// Channels out.
    pub out: usize,
}

/// A spatial transformer: group norm, projection in, transformer blocks over the pixels, projection out, residual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformer {
    /// The prefix of its parameters.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Attention heads; a head is `channels / heads` wide.
    pub heads: usize,
    /// Transformer blocks: `{name}.transformer_blocks.{0..depth}`.
    pub depth: usize,
}

/// One residual block and the transformer behind it, if the level has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The residual block.
    pub resnet: Resnet,
    /// The transformer.
    pub transformer: Option<Transformer>,
}

/// One level on the way down or up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its layers. On the way down each output is kept as a skip connection; on the way up the latest skip connection
    /// is appended to the channels of each residual block's input.
    pub layers: Vec<Layer>,
    /// The prefix and channels of the 3x3 convolution that changes the resolution: with stride 2 on the way down (its
    /// output is kept as a skip connection too), after doubling every pixel on the way up.
    pub sampler: Option<(String, usize)>,
}

/// The whole network in the order of computation, between `conv_in` (whose output is the first skip connection) and
/// `conv_norm_out`, silu, `conv_out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The levels on the way down.
    pub down: Vec<Level>,
    /// Residual block, transformer, residual block.
    pub mid: (Resnet, Transformer, Resnet),
    /// The levels on the way up, the deepest first.
    pub up: Vec<Level>,
}

impl UNet2DConditionConfig {
    /// The network in the order of computation.
    pub fn plan(&self) -> Plan {
        let levels = self.block_out_channels.len();
        let channels = |level: usize| self.block_out_channels[level];
        let transformer = |name: String, level: usize| Transformer {
            name,
            channels: channels(level),
            heads: self.attention_head_dim.at(level),
            depth: self.transformer_layers_per_block.at(level),
        };
        let down = (0..levels).map(|i| {
            let name = format!("down_blocks.{i}");
            let attends = self.down_block_types[i] == "CrossAttnDownBlock2D";
            let layers = (0..self.layers_per_block.at(i)).map(|j| Layer {
                resnet: Resnet {
                    name: format!("{name}.resnets.{j}"),
                    inp: if j == 0 { channels(i.saturating_sub(1)) } else { channels(i) },
                    out: channels(i),
                },
                transformer: attends.then(|| transformer(format!("{name}.attentions.{j}"), i)),
            });
            let sampler = (i + 1 < levels).then(|| (format!("{name}.downsamplers.0.conv"), channels(i)));
            Level { layers: layers.collect(), sampler }
        });
        let deepest = levels - 1;
        let mid = |j: usize| {
            let name = format!("mid_block.resnets.{j}");
            Resnet { name, inp: channels(deepest), out: channels(deepest) }
        };
        let up = (0..levels).map(|i| {
            let level = deepest - i;
            let name = format!("up_blocks.{i}");
            let attends = self.up_block_types[i] == "CrossAttnUpBlock2D";
            let count = self.layers_per_block.at(level) + 1;
            let layers = (0..count).map(|j| {
                let main = if j == 0 { channels((level + 1).min(deepest)) } else { channels(level) };
                let skip = if j + 1 == count { channels(level.saturating_sub(1)) } else { channels(level) };
                Layer {
                    resnet: Resnet { name: format!("{name}.resnets.{j}"), inp: main + skip, out: channels(level) },
                    transformer: attends.then(|| transformer(format!("{name}.attentions.{j}"), level)),
                }
            });
            let sampler = (level > 0).then(|| (format!("{name}.upsamplers.0.conv"), channels(level)));
            Level { layers: layers.collect(), sampler }
        });
        Plan {
            down: down.collect(),
            mid: (mid(0), transformer("mid_block.attentions.0".into(), deepest), mid(1)),
            up: up.collect(),
        }
    }

    /// Every parameter, all of them trainable.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (first, time) = (self.block_out_channels[0], self.time_width());
        let mut all = Parameters(Vec::new());
        all.conv("conv_in", first, self.in_channels, self.conv_in_kernel);
        all.linear("time_embedding.linear_1", time, first);
        all.linear("time_embedding.linear_2", time, time);
        let plan = self.plan();
        for level in plan.down.iter().chain(&plan.up) {
            for layer in &level.layers {
                all.resnet(&layer.resnet, time);
                if let Some(transformer) = &layer.transformer {
                    all.transformer(transformer, self.context(), self.use_linear_projection);
                }
            }
            if let Some((name, channels)) = &level.sampler {
                all.conv(name, *channels, *channels, 3);
            }
        }
        all.resnet(&plan.mid.0, time);
        all.transformer(&plan.mid.1, self.context(), self.use_linear_projection);
        all.resnet(&plan.mid.2, time);
        all.norm("conv_norm_out", first);
        all.conv("conv_out", self.out_channels, first, self.conv_out_kernel);
        all.0
    }
}

impl Plan {
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.down.iter().chain(&self.up).flat_map(|level| &level.layers)
    }

    /// Every residual block.
    pub fn resnets(&self) -> impl Iterator<Item = &Resnet> {
        self.layers().map(|layer| &layer.resnet).chain([&self.mid.0, &self.mid.2])
    }

    /// Every spatial transformer.
    pub fn transformers(&self) -> impl Iterator<Item = &Transformer> {
        self.layers().filter_map(|layer| layer.transformer.as_ref()).chain([&self.mid.1])
    }
}

/// The list of parameters under construction.
struct Parameters(Vec<Parameter>);

impl Parameters {
    fn weight_and_bias(&mut self, name: &str, weight: impl Into<Vec<usize>>, out: usize) {
        self.0.push(Parameter::new(format!("{name}.weight"), weight));
        self.0.push(Parameter::new(format!("{name}.bias"), [out]));
    }

    fn linear(&mut self, name: &str, out: usize, inp: usize) {
        self.weight_and_bias(name, [out, inp], out);
    }

    fn conv(&mut self, name: &str, out: usize, inp: usize, kernel: usize) {
        self.weight_and_bias(name, [out, inp, kernel, kernel], out);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.weight_and_bias(name, [width], width);
    }

    fn resnet(&mut self, resnet: &Resnet, time: usize) {
        let Resnet { name, inp, out } = resnet;
        self.norm(&format!("{name}.norm1"), *inp);
        self.conv(&format!("{name}.conv1"), *out, *inp, 3);
        self.linear(&format!("{name}.time_emb_proj"), *out, time);
        self.norm(&format!("{name}.norm2"), *out);
        self.conv(&format!("{name}.conv2"), *out, *out, 3);
        if inp != out {
            self.conv(&format!("{name}.conv_shortcut"), *out, *inp, 1);
        }
    }

    fn transformer(&mut self, transformer: &Transformer, context: usize, linear: bool) {
        let (name, c) = (&transformer.name, transformer.channels);
        self.norm(&format!("{name}.norm"), c);
        for block in 0..transformer.depth {
            let block = format!("{name}.transformer_blocks.{block}");
            for (norm, attention, source) in [("norm1", "attn1", c), ("norm2", "attn2", context)] {
                self.norm(&format!("{block}.{norm}"), c);
                for (projection, width) in [("to_q", c), ("to_k", source), ("to_v", source)] {
                    self.0.push(Parameter::new(format!("{block}.{attention}.{projection}.weight"), [c, width]));
                }
                self.linear(&format!("{block}.{attention}.to_out.0"), c, c);
            }
            self.norm(&format!("{block}.norm3"), c);
            self.linear(&format!("{block}.ff.net.0.proj"), 8 * c, c);
            self.linear(&format!("{block}.ff.net.2"), c, 4 * c);
        }
        for projection in ["proj_in", "proj_out"] {
            let name = format!("{name}.{projection}");
            if linear { self.linear(&name, c, c) } else { self.conv(&name, c, c, 1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::unet2d_condition::tests::stable_diffusion;
    use super::*;

    #[test]
    fn counts_the_public_model() {
        let parameters = UNet2DConditionConfig::parse(&stable_diffusion()).expect("supported").parameters();
        let count: usize = parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(count, 859_520_964);
    }

    #[test]
    fn names_the_tensors_of_the_golden_case() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/unet-tiny");
        let json: Value = serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
        let config = UNet2DConditionConfig::parse(json["config"].as_object().unwrap()).expect("supported");
        let declared: BTreeMap<_, _> = config.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        let file = std::fs::read(case.join("weights.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let stored = tensors.iter().map(|(name, t)| (name.to_owned(), t.shape().to_vec())).collect();
        assert_eq!(declared, stored);
    }

    #[test]
    fn the_way_up_takes_every_skip_connection_back() {
        let mut map = stable_diffusion();
        map.insert("layers_per_block".into(), json!([1, 2, 3, 1]));
        let config = UNet2DConditionConfig::parse(&map).expect("supported");
        let plan = config.plan();
        let mut skips = vec![320];
        for level in &plan.down {
            skips.extend(level.layers.iter().map(|layer| layer.resnet.out));
            skips.extend(level.sampler.iter().map(|(_, channels)| *channels));
        }
        let mut channels = plan.mid.2.out;
        for layer in plan.up.iter().flat_map(|level| &level.layers) {
            assert_eq!(layer.resnet.inp, channels + skips.pop().unwrap(), "{}", layer.resnet.name);
            channels = layer.resnet.out;
        }
        assert!(skips.is_empty());
    }
}
