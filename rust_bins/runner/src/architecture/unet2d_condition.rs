//! `unet2d-condition`: diffusers `UNet2DConditionModel` (Rombach et al. 2022), the denoiser of Stable Diffusion 1.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Parameter, config};
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// The epsilon of the group norm in front of every spatial transformer, whatever `norm_eps` says.
pub const TRANSFORMER_GROUP_NORM_EPS: f64 = 1e-6;
/// The epsilon of the layer norms inside every transformer block.
pub const LAYER_NORM_EPS: f64 = 1e-5;

/// One value for every level, or one a level.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same at every level.
    Same(usize),
    /// From the first level of the way down to the last.
    Each(Vec<usize>),
}

impl PerLevel {
    fn at(&self, level: usize) -> usize {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[level],
        }
    }
}

/// The keys of diffusers' configuration that change the numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UNet2DConditionConfig {
    /// Channels of `sample`.
    #[serde(default = "four")]
    pub in_channels: usize,
    /// Channels of the answer.
    #[serde(default = "four")]
    pub out_channels: usize,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// The kind of each level on the way down.
    pub down_block_types: Vec<String>,
    /// The kind of each level on the way up, the deepest first.
    pub up_block_types: Vec<String>,
    /// Residual blocks of a level on the way down (one more on the way up).
    #[serde(default = "two_a_level")]
    pub layers_per_block: PerLevel,
    /// Transformer blocks of each spatial transformer.
    #[serde(default = "one_a_level")]
    pub transformer_layers_per_block: PerLevel,
    /// The *number* of attention heads: diffusers' name is a historical mistake that its configurations keep.
    #[serde(default = "eight_a_level")]
    pub attention_head_dim: PerLevel,
    /// Width of `encoder_hidden_states`.
    pub cross_attention_dim: PerLevel,
    /// Groups of every group norm.
    #[serde(default = "default_norm_num_groups")]
    pub norm_num_groups: usize,
    /// Added to the variance in the group norms of residual blocks and of the output.
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f64,
    /// Whether the projections around a spatial transformer are linear layers rather than 1x1 convolutions (the
    /// numbers are the same; the shape in the checkpoint is not).
    #[serde(default)]
    pub use_linear_projection: bool,
    /// Whether the time embedding is [cos, sin] rather than [sin, cos].
    #[serde(default = "yes")]
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies in the exponent's denominator.
    #[serde(default)]
    pub freq_shift: f64,
    /// Width of the time embedding; four times the first level's channels when absent.
    pub time_embedding_dim: Option<usize>,
    /// Width of the first convolution's kernel.
    #[serde(default = "three")]
    pub conv_in_kernel: usize,
    /// Width of the last convolution's kernel.
    #[serde(default = "three")]
    pub conv_out_kernel: usize,
}

fn four() -> usize {
    4
}
fn three() -> usize {
    3
}
fn yes() -> bool {
    true
}
fn one_a_level() -> PerLevel {
    PerLevel::Same(1)
}
fn two_a_level() -> PerLevel {
    PerLevel::Same(2)
}
fn eight_a_level() -> PerLevel {
    PerLevel::Same(8)
}
fn default_norm_num_groups() -> usize {
    32
}
fn default_norm_eps() -> f64 {
    1e-5
}

/// Keys of the public configuration that do not change the numbers of the tasks here (`upcast_attention` matters in
/// half precision only).
const NEUTRAL: &[&str] = &["sample_size", "upcast_attention", "addition_embed_type_num_heads"];

/// Keys that ask for a part which the runners do not have: they must be absent or null.
const ABSENT: &[&str] = &[
    "reverse_transformer_layers_per_block",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "num_attention_heads",
    "class_embed_type",
    "addition_embed_type",
    "addition_time_embed_dim",
    "num_class_embeds",
    "time_embedding_act_fn",
    "timestep_post_act",
    "time_cond_proj_dim",
    "projection_class_embeddings_input_dim",
    "cross_attention_norm",
];

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
    /// Reads the public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key, when a key is unknown or has a value that the runners do not honour.
    pub fn parse(map: &Map<String, Value>) -> Result<Self> {
        let mut map = map.clone();
        // Null means "no middle block" here, not "the default".
        if map.get("mid_block_type").is_some_and(Value::is_null) {
            return Err(Error::unsupported("unet2d-condition: config key `mid_block_type` = null is not supported"));
        }
        if map.get("norm_num_groups").is_some_and(Value::is_null) {
            return Err(Error::unsupported("unet2d-condition: config key `norm_num_groups` = null is not supported"));
        }
        config::require(&mut map, "mid_block_type", "UNetMidBlock2DCrossAttn")?;
        if map.get("act_fn").is_some_and(|act| act == "swish") {
            map.remove("act_fn");
        }
        config::require(&mut map, "act_fn", "silu")?;
        config::require(&mut map, "attention_type", "default")?;
        config::require(&mut map, "time_embedding_type", "positional")?;
        config::require(&mut map, "resnet_time_scale_shift", "default")?;
        config::require(&mut map, "downsample_padding", 1)?;
        config::require(&mut map, "dropout", 0.0)?;
        config::require(&mut map, "mid_block_scale_factor", 1.0)?;
        config::require(&mut map, "resnet_out_scale_factor", 1.0)?;
        for key in [
            "center_input_sample",
            "only_cross_attention",
            "dual_cross_attention",
            "resnet_skip_time_act",
            "class_embeddings_concat",
            "mid_block_only_cross_attention",
        ] {
            config::require(&mut map, key, false)?;
        }
        for key in ABSENT {
            config::require(&mut map, key, Value::Null)?;
        }
        let parsed: Self = config::strict("unet2d-condition", map, NEUTRAL)?;
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        let unsupported = |message: String| Err(Error::unsupported(format!("unet2d-condition: {message}")));
        let levels = self.block_out_channels.len();
        if levels == 0 {
            return unsupported("block_out_channels is empty".into());
        }
        for (key, types, known) in [
            ("down_block_types", &self.down_block_types, ["CrossAttnDownBlock2D", "DownBlock2D"]),
            ("up_block_types", &self.up_block_types, ["CrossAttnUpBlock2D", "UpBlock2D"]),
        ] {
            if types.len() != levels {
                return unsupported(format!("{key} has {} entries, block_out_channels has {levels}", types.len()));
            }
            if let Some(kind) = types.iter().find(|kind| !known.contains(&kind.as_str())) {
                return unsupported(format!("config key `{key}`: `{kind}` is not supported, only {known:?}"));
            }
        }
        for (key, value) in [
            ("layers_per_block", &self.layers_per_block),
            ("transformer_layers_per_block", &self.transformer_layers_per_block),
            ("attention_head_dim", &self.attention_head_dim),
            ("cross_attention_dim", &self.cross_attention_dim),
        ] {
            match value {
                PerLevel::Each(values) if values.len() != levels => {
                    return unsupported(format!("{key} has {} entries, block_out_channels has {levels}", values.len()));
                }
                _ if (0..levels).any(|level| value.at(level) == 0) => return unsupported(format!("{key} is zero")),
                _ => {}
            }
        }
        if (0..levels).any(|level| self.cross_attention_dim.at(level) != self.context()) {
            return unsupported("cross_attention_dim differs between levels".into());
        }
        if self.norm_num_groups == 0 || self.conv_in_kernel.is_multiple_of(2) || self.conv_out_kernel.is_multiple_of(2)
        {
            return unsupported(
                "norm_num_groups must not be zero, conv_in_kernel and conv_out_kernel must be odd".into(),
            );
        }
        if !self.block_out_channels[0].is_multiple_of(2) {
            return unsupported(format!("block_out_channels[0] = {} is not even", self.block_out_channels[0]));
        }
        let plan = self.plan();
        for channels in plan.resnets().flat_map(|r| [r.inp, r.out]).chain([self.block_out_channels[0]]) {
            if !channels.is_multiple_of(self.norm_num_groups) {
                return unsupported(format!("{channels} channels are not a multiple of norm_num_groups"));
            }
        }
        if let Some(t) = plan.transformers().find(|t| !t.channels.is_multiple_of(t.heads)) {
            return unsupported(format!(
                "{} channels are not a multiple of attention_head_dim {}",
                t.channels, t.heads
            ));
        }
        Ok(())
    }

    /// Width of `encoder_hidden_states`.
    pub fn context(&self) -> usize {
        self.cross_attention_dim.at(0)
    }

    /// Width of the time embedding after its two linear layers.
    pub fn time_width(&self) -> usize {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels[0])
    }

    /// The sinusoidal embedding `[block_out_channels[0]]` of one time step, in float64: angles
    /// `t * 10000^(-i / (half - freq_shift))` (Vaswani et al. 2017, diffusers' `get_timestep_embedding`).
    pub fn time_features(&self, timestep: f64) -> Vec<f64> {
        let half = self.block_out_channels[0] / 2;
        let angle = |i: usize| timestep * (-(10_000_f64.ln()) * i as f64 / (half as f64 - self.freq_shift)).exp();
        let (sin, cos) = ((0..half).map(|i| angle(i).sin()), (0..half).map(|i| angle(i).cos()));
        if self.flip_sin_to_cos { cos.chain(sin).collect() } else { sin.chain(cos).collect() }
    }

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

    /// The inputs of `infer` (and, with `target`, of `train`), checked.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, target: bool) -> Result<UNet2DConditionInputs<'a>> {
        let (shape, sample) = inputs.f32("sample")?;
        let factor = 1 << (self.block_out_channels.len() - 1);
        let &[batch, channels, height, width] = shape else {
            return Err(Error::invalid_inputs(format!("input `sample` has shape {shape:?}, expected [B, C, H, W]")));
        };
        if channels != self.in_channels || batch == 0 || height == 0 || width == 0 {
            return Err(Error::invalid_inputs(format!(
                "input `sample` has shape {shape:?}, expected [B, {}, H, W], none of them zero",
                self.in_channels
            )));
        }
        if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return Err(Error::invalid_inputs(format!(
                "input `sample` is {height}x{width}: both must be multiples of {factor} for {} levels",
                self.block_out_channels.len()
            )));
        }
        let (timestep_shape, timestep) = inputs.f32("timestep")?;
        if timestep_shape != [batch] {
            return Err(Error::invalid_inputs(format!(
                "input `timestep` has shape {timestep_shape:?}, expected [{batch}]"
            )));
        }
        let (context_shape, encoder_hidden_states) = inputs.f32("encoder_hidden_states")?;
        let seq = match context_shape {
            &[b, seq, c] if b == batch && seq > 0 && c == self.context() => seq,
            _ => {
                return Err(Error::invalid_inputs(format!(
                    "input `encoder_hidden_states` has shape {context_shape:?}, expected [{batch}, S, {}]",
                    self.context()
                )));
            }
        };
        let target = if target {
            let (target_shape, target) = inputs.f32("target")?;
            let expected = [batch, self.out_channels, height, width];
            if target_shape != expected {
                return Err(Error::invalid_inputs(format!(
                    "input `target` has shape {target_shape:?}, expected {expected:?}"
                )));
            }
            Some(target)
        } else {
            None
        };
        Ok(UNet2DConditionInputs { batch, height, width, seq, sample, timestep, encoder_hidden_states, target })
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

/// The inputs of a `unet2d-condition` task.
#[derive(Debug, Clone, Copy)]
pub struct UNet2DConditionInputs<'a> {
    /// B.
    pub batch: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// S.
    pub seq: usize,
    /// `[B, in_channels, H, W]`.
    pub sample: &'a [f32],
    /// `[B]`.
    pub timestep: &'a [f32],
    /// `[B, S, cross_attention_dim]`.
    pub encoder_hidden_states: &'a [f32],
    /// `[B, out_channels, H, W]`, for `train` and `step`.
    pub target: Option<&'a [f32]>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// The public configuration of Stable Diffusion 1.5's denoiser.
    fn stable_diffusion() -> Map<String, Value> {
        let json = json!({
            "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu",
            "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false,
            "cross_attention_dim": 768,
            "down_block_types": [
                "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"
            ],
            "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
            "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-5, "norm_num_groups": 32,
            "out_channels": 4, "sample_size": 64,
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        });
        json.as_object().expect("an object").clone()
    }

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

    #[test]
    fn names_what_it_does_not_honour() {
        for (key, value) in [
            ("mid_block_type", Value::Null),
            ("norm_num_groups", Value::Null),
            ("class_embed_type", json!("timestep")),
            ("act_fn", json!("gelu")),
            ("down_block_types", json!(["A", "DownBlock2D", "DownBlock2D", "DownBlock2D"])),
            ("attention_head_dim", json!([8, 8])),
            ("a_new_key", json!(1)),
        ] {
            let mut map = stable_diffusion();
            map.insert(key.into(), value);
            let error = UNet2DConditionConfig::parse(&map).unwrap_err();
            assert_eq!(error.code, crate::error::Code::Unsupported);
            assert!(error.message.contains(key), "{error}");
        }
    }

    #[test]
    fn time_features_are_the_angles_of_the_formula() {
        let config = UNet2DConditionConfig::parse(&stable_diffusion()).expect("supported");
        let features = config.time_features(10.0);
        assert_eq!(features.len(), 320);
        assert!((features[0] - 10.0_f64.cos()).abs() < 1e-12);
        assert!((features[161] - (10.0 * 10_000_f64.powf(-1.0 / 160.0)).sin()).abs() < 1e-12);
    }
}
