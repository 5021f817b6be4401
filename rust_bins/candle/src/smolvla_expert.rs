//! `smolvla-expert`: one denoising step of lerobot's `SmolVLA` action expert.

use arena_runner::architecture::Parameter;
use arena_runner::architecture::smolvla_expert::SmolVlaExpertConfig;
use arena_runner::{Inputs, Result};
use candle_core::{D, Device, Tensor};

use crate::llama::Mlp;
use crate::network::{Architecture, Bound, Network};
use crate::ops::{Linear, RmsNorm, Rotary, attend, causal_mask, heads, mean_squared_error};
use crate::store::View;

/// The whole model.
pub struct SmolVlaExpert {
    config: SmolVlaExpertConfig,
    action_in_proj: Linear,
    action_time_mlp_in: Linear,
    action_time_mlp_out: Linear,
    layers: Vec<Layer>,
    norm: RmsNorm,
    action_out_proj: Linear,
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    mlp: Mlp,
}

struct Attention {
    /// Whether the actions' own keys and values are appended to the prefix's.
    own: bool,
    head_dim: usize,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
}

/// What every layer attends with.
struct Positions {
    /// Of layers that attend to the actions: S, S + 1, …
    after_prefix: Rotary,
    /// Of layers that attend to the prefix alone: 0, 1, …
    from_zero: Rotary,
    /// The whole prefix, and the actions up to oneself.
    mask: Tensor,
}

impl Architecture for SmolVlaExpertConfig {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters()
    }

    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>> {
        Ok(Box::new(SmolVlaExpert::load(self, view)?))
    }
}

impl SmolVlaExpert {
    /// The model over the parameters of `view`.
    fn load(config: &SmolVlaExpertConfig, view: &View<'_>) -> candle_core::Result<Self> {
        let expert = "model.vlm_with_expert.lm_expert";
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::load(config, view, &format!("{expert}.layers.{i}"), i));
        Ok(Self {
            config: config.clone(),
            action_in_proj: Linear::load(view, "model.action_in_proj")?,
            action_time_mlp_in: Linear::load(view, "model.action_time_mlp_in")?,
            action_time_mlp_out: Linear::load(view, "model.action_time_mlp_out")?,
            layers: layers.collect::<candle_core::Result<_>>()?,
            norm: RmsNorm::load(view, &format!("{expert}.norm"), config.rms_norm_eps)?,
            action_out_proj: Linear::load(view, "model.action_out_proj")?,
        })
    }

    /// `timestep` `[B]`, on the host, to `[B, hidden]`: `[sin, cos]` of the angles, in float64.
    fn embed_time(&self, timestep: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
        let frequencies = self.config.time_frequencies();
        let mut embedding = Vec::new();
        for t in timestep.to_vec1::<f32>()? {
            let angles = frequencies.iter().map(|frequency| f64::from(t) * frequency);
            embedding.extend(angles.clone().map(|a| a.sin() as f32).chain(angles.map(|a| a.cos() as f32)));
        }
        Tensor::from_vec(embedding, (timestep.dim(0)?, self.config.hidden_size), device)
    }
}

impl Network for SmolVlaExpert {
    fn output_name(&self) -> &'static str {
        "velocity"
    }

    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound> {
        let (c, inputs) = (&self.config, self.config.inputs(inputs, with_loss)?);
        let actions = [inputs.batch, c.chunk_size, c.max_action_dim];
        let prefix = [c.num_hidden_layers, inputs.batch, inputs.prefix, c.num_key_value_heads, c.head_dim];
        let bound = Bound::on(device)
            .f32("noisy_actions", inputs.noisy_actions, &actions)?
            .on_host("timestep", inputs.timestep)?
            .f32("prefix_keys", inputs.prefix_keys, &prefix)?
            .f32("prefix_values", inputs.prefix_values, &prefix)?;
        match inputs.target {
            None => Ok(bound),
            Some(target) => bound.f32("target", target, &actions),
        }
    }

    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let (keys, values) = (inputs.get("prefix_keys")?, inputs.get("prefix_values")?);
        let (prefix, actions, device) = (keys.dim(2)?, self.config.chunk_size, inputs.device());
        let rotary = |start| Rotary::new(self.config.rope_theta, self.config.head_dim, start, actions, device);
        let mask = causal_mask(actions, prefix, device)?;
        let positions = Positions { after_prefix: rotary(prefix)?, from_zero: rotary(0)?, mask };

        let embedded = self.action_in_proj.forward(inputs.get("noisy_actions")?)?;
        let time = self.embed_time(inputs.get("timestep")?, device)?.unsqueeze(1)?.broadcast_as(embedded.shape())?;
        let mixed = Tensor::cat(&[embedded, time.contiguous()?], D::Minus1)?;
        let mut x = self.action_time_mlp_out.forward(&self.action_time_mlp_in.forward(&mixed)?.silu()?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &keys.get(i)?, &values.get(i)?, &positions)?;
        }
        self.action_out_proj.forward(&self.norm.forward(&x)?)
    }

    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        mean_squared_error(&self.forward(inputs)?, inputs.get("target")?)
    }
}

impl Layer {
    fn load(config: &SmolVlaExpertConfig, view: &View<'_>, name: &str, i: usize) -> candle_core::Result<Self> {
        let norm = |part| RmsNorm::load(view, &format!("{name}.{part}"), config.rms_norm_eps);
        let linear = |part| Linear::load(view, &format!("{name}.self_attn.{part}"));
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention {
                own: config.is_self_attention(i),
                head_dim: config.head_dim,
                q_proj: linear("q_proj")?,
                k_proj: linear("k_proj")?,
                v_proj: linear("v_proj")?,
                o_proj: linear("o_proj")?,
            },
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(view, &format!("{name}.mlp"))?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        positions: &Positions,
    ) -> candle_core::Result<Tensor> {
        let x = (x + self.attention.forward(&self.input_norm.forward(x)?, keys, values, positions)?)?;
        &x + self.mlp.forward(&self.post_attention_norm.forward(&x)?)?
    }
}

impl Attention {
    /// `x` `[B, A, hidden]`; `keys` and `values` of the prefix `[B, S, H, E]`.
    fn forward(
        &self,
        x: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        positions: &Positions,
    ) -> candle_core::Result<Tensor> {
        let project = |linear: &Linear, x: &Tensor| heads(&linear.forward(x)?, self.head_dim);
        let q = project(&self.q_proj, x)?;
        let mixed = if self.own {
            let rotary = &positions.after_prefix;
            let k = rotary.rotate(&project(&self.k_proj, x)?)?;
            let k = Tensor::cat(&[keys.transpose(1, 2)?.contiguous()?, k], 2)?;
            let v = Tensor::cat(&[values.transpose(1, 2)?.contiguous()?, project(&self.v_proj, x)?], 2)?;
            attend(&rotary.rotate(&q)?, &k.contiguous()?, &v.contiguous()?, Some(&positions.mask))?
        } else {
            let k = project(&self.k_proj, &keys.flatten_from(2)?)?;
            let v = project(&self.v_proj, &values.flatten_from(2)?)?;
            attend(&positions.from_zero.rotate(&q)?, &k, &v, None)?
        };
        self.o_proj.forward(&mixed)
    }
}
