//! `unet2d-condition`: diffusers `UNet2DConditionModel` (Rombach et al. 2022), the denoiser of Stable Diffusion 1.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config;
use crate::error::{Error, Result};

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
    /// The value at a level, counted from the first on the way down.
    pub(super) fn at(&self, level: usize) -> usize {
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
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// The public configuration of Stable Diffusion 1.5's denoiser.
    pub fn stable_diffusion() -> Map<String, Value> {
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
