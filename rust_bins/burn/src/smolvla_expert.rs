//! `smolvla-expert`: one denoising step of the action expert: noisy actions and the time, through layers that attend
//! to themselves after the language model's prefix, or to the prefix alone.

use std::rc::Rc;

use arena_runner::architecture::smolvla_expert::SmolVlaExpertConfig;
use arena_runner::{Inputs, Result};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};

use crate::ops::{Linear, Rotary, Visible, attention, heads, mean_squared_error, rms_norm};
use crate::parameters::{Handles, Table};
use crate::program::{Architecture, Flat};

/// The model on one set of parameters.
pub struct SmolVlaExpert {
    config: Rc<SmolVlaExpertConfig>,
    action_in_proj: Linear,
    action_time_mlp_in: Linear,
    action_time_mlp_out: Linear,
    layers: Vec<Layer>,
    norm: Tensor<1>,
    action_out_proj: Linear,
}

struct Layer {
    input_layernorm: Tensor<1>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: Tensor<1>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// The inputs on the device.
pub struct Batch {
    /// `[B, A, D]`.
    noisy_actions: Tensor<3>,
    /// `[B, hidden]`: sines, then cosines, of the time at every period; the angles are of double precision.
    time: Tensor<2>,
    /// A layer's keys and values of the prefix, `[B, S, H * E]` each.
    prefix: Vec<(Tensor<3>, Tensor<3>)>,
    /// `[B, A, D]`.
    target: Option<Tensor<3>>,
    /// Rows for positions `0..S + A`.
    rotary: Rotary,
    /// Of the actions among themselves, behind the prefix.
    visible: Visible,
}

/// The parameters as they are held on the device: every projection as `[in, out]`.
pub fn table(config: &SmolVlaExpertConfig) -> Table {
    Table::new(config.parameters(), |_| true)
}

impl Architecture for SmolVlaExpert {
    type Config = SmolVlaExpertConfig;
    type Batch = Batch;
    const OUTPUT: &'static str = "velocity";

    fn batch(config: &SmolVlaExpertConfig, inputs: &Inputs, targets: bool, device: &Device) -> Result<Batch> {
        let inputs = config.inputs(inputs, targets)?;
        let (b, s, layers) = (inputs.batch, inputs.prefix, config.num_hidden_layers);
        let actions = |values: &[f32]| {
            let shape = [b, config.chunk_size, config.max_action_dim];
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        let width = config.num_key_value_heads * config.head_dim;
        let layer = |values: &[f32], i: usize| {
            let values = values[i * b * s * width..][..b * s * width].to_vec();
            Tensor::<3>::from_data(TensorData::new(values, [b, s, width]), device)
        };
        Ok(Batch {
            noisy_actions: actions(inputs.noisy_actions),
            time: embed_time(config, inputs.timestep, device),
            prefix: (0..layers).map(|i| (layer(inputs.prefix_keys, i), layer(inputs.prefix_values, i))).collect(),
            target: inputs.target.map(actions),
            rotary: Rotary::new(0..s + config.chunk_size, config.head_dim, config.rope_theta, device),
            visible: Visible::causal(config.chunk_size, s + config.chunk_size, targets, device),
        })
    }

    fn load(config: &Rc<SmolVlaExpertConfig>, p: &Handles) -> Self {
        let linear = |name: &str| Linear::load(p, &format!("model.{name}"));
        let layer = |i: usize| {
            let at = |name: &str| format!("vlm_with_expert.lm_expert.layers.{i}.{name}");
            let norm = |name: &str| p.get(&format!("model.{}.weight", at(name)));
            Layer {
                input_layernorm: norm("input_layernorm"),
                q_proj: linear(&at("self_attn.q_proj")),
                k_proj: linear(&at("self_attn.k_proj")),
                v_proj: linear(&at("self_attn.v_proj")),
                o_proj: linear(&at("self_attn.o_proj")),
                post_attention_layernorm: norm("post_attention_layernorm"),
                gate_proj: linear(&at("mlp.gate_proj")),
                up_proj: linear(&at("mlp.up_proj")),
                down_proj: linear(&at("mlp.down_proj")),
            }
        };
        Self {
            config: Rc::clone(config),
            action_in_proj: linear("action_in_proj"),
            action_time_mlp_in: linear("action_time_mlp_in"),
            action_time_mlp_out: linear("action_time_mlp_out"),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: p.get("model.vlm_with_expert.lm_expert.norm.weight"),
            action_out_proj: linear("action_out_proj"),
        }
    }

    fn infer(&self, batch: &Batch) -> Flat {
        self.forward(batch).into()
    }

    fn loss(&self, batch: &Batch) -> Tensor<1> {
        mean_squared_error(self.forward(batch), batch.target.clone().expect("a batch with targets"))
    }
}

impl SmolVlaExpert {
    /// The velocity `[B, A, D]`.
    fn forward(&self, batch: &Batch) -> Tensor<3> {
        let eps = self.config.rms_norm_eps;
        let actions = self.action_in_proj.forward(batch.noisy_actions.clone());
        let [b, a, width] = actions.dims();
        let time = batch.time.clone().reshape([b, 1, width]).expand([b, a, width]);
        let hidden = silu(self.action_time_mlp_in.forward(Tensor::cat(vec![actions, time], 2)));
        let mut x = self.action_time_mlp_out.forward(hidden);
        let prefixed = batch.prefix.first().map_or(0, |(keys, _)| keys.dims()[1]);
        // Own positions follow the prefix's; without it they begin at 0.
        let (behind, alone) = (batch.rotary.at(prefixed, a), batch.rotary.at(0, a));
        for (i, (layer, prefix)) in self.layers.iter().zip(&batch.prefix).enumerate() {
            let h = rms_norm(x.clone(), layer.input_layernorm.clone(), eps);
            x = x + if self.config.is_self_attention(i) {
                layer.attend_to_all(h, prefix, &self.config, &behind, batch.visible.clone())
            } else {
                layer.attend_to_prefix(h, prefix, &self.config, &alone)
            };
            let h = rms_norm(x.clone(), layer.post_attention_layernorm.clone(), eps);
            x = x + layer.feed(h);
        }
        self.action_out_proj.forward(rms_norm(x, self.norm.clone(), eps))
    }
}

impl Layer {
    /// Own keys and values behind the prefix's; the prefix is visible whole, the actions causally.
    fn attend_to_all(
        &self,
        x: Tensor<3>,
        (keys, values): &(Tensor<3>, Tensor<3>),
        config: &SmolVlaExpertConfig,
        rotary: &Rotary,
        visible: Visible,
    ) -> Tensor<3> {
        let count = config.num_key_value_heads;
        let q = rotary.forward(self.q_proj.forward(x.clone()));
        let k = rotary.forward(self.k_proj.forward(x.clone()));
        let v = heads(self.v_proj.forward(x), count);
        let k = Tensor::cat(vec![heads(keys.clone(), count), k], 2);
        let v = Tensor::cat(vec![heads(values.clone(), count), v], 2);
        self.o_proj.forward(attention(q, k, v, visible))
    }

    /// Keys and values projected from the prefix's, which are not rotated again; queries at positions `0..A`.
    fn attend_to_prefix(
        &self,
        x: Tensor<3>,
        (keys, values): &(Tensor<3>, Tensor<3>),
        config: &SmolVlaExpertConfig,
        rotary: &Rotary,
    ) -> Tensor<3> {
        let count = config.num_key_value_heads;
        let q = rotary.forward(self.q_proj.forward(x));
        let k = heads(self.k_proj.forward(keys.clone()), count);
        let v = heads(self.v_proj.forward(values.clone()), count);
        self.o_proj.forward(attention(q, k, v, Visible::All))
    }

    fn feed(&self, x: Tensor<3>) -> Tensor<3> {
        self.down_proj.forward(silu(self.gate_proj.forward(x.clone())) * self.up_proj.forward(x))
    }
}

fn embed_time(config: &SmolVlaExpertConfig, timestep: &[f32], device: &Device) -> Tensor<2> {
    let frequencies = config.time_frequencies();
    let row = |&t: &f32| {
        let angles = frequencies.iter().map(move |frequency| f64::from(t) * frequency);
        angles.clone().map(f64::sin).chain(angles.map(f64::cos)).map(|value| value as f32)
    };
    let values: Vec<f32> = timestep.iter().flat_map(row).collect();
    let shape = [timestep.len(), 2 * frequencies.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}
