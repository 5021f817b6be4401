//! `whisper`: transformers `WhisperForConditionalGeneration` (Radford et al. 2022).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Inputs, Result};
use candle_core::{Device, Tensor};

use crate::decode::{Cache, Decoder};
use crate::network::{Architecture, Bound, Network};
use crate::ops::{Conv, LayerNorm, Linear, attend, causal_mask, cross_entropy, embedding, gelu, heads};
use crate::store::View;

/// The whole model.
pub struct Whisper {
    config: WhisperConfig,
    conv1: Conv,
    conv2: Conv,
    /// Fixed sinusoids `[source positions, d]`.
    encoder_positions: Tensor,
    encoder: Vec<EncoderLayer>,
    encoder_norm: LayerNorm,
    /// `[V, d]`.
    embedding: Tensor,
    /// `[target positions, d]`.
    decoder_positions: Tensor,
    decoder: Vec<DecoderLayer>,
    decoder_norm: LayerNorm,
    proj_out: Linear,
}

struct EncoderLayer {
    attention: Attention,
    feed_forward: FeedForward,
}

struct DecoderLayer {
    attention: Attention,
    encoder_attention: Attention,
    feed_forward: FeedForward,
}

/// Attention behind a layer norm.
struct Attention {
    norm: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    head_dim: usize,
}

/// Two linear layers behind a layer norm.
struct FeedForward {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Architecture for WhisperConfig {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters()
    }

    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>> {
        Ok(Box::new(Whisper::load(self, view)?))
    }
}

impl Whisper {
    /// The model over the parameters of `view`.
    fn load(config: &WhisperConfig, view: &View<'_>) -> candle_core::Result<Self> {
        let embedding = view.get("model.decoder.embed_tokens.weight")?;
        let proj_out = if config.tie_word_embeddings {
            Linear::new(embedding.clone(), None)
        } else {
            Linear::load(view, "proj_out")?
        };
        let norm = |name| LayerNorm::load(view, name, WhisperConfig::LAYER_NORM_EPS);
        let (encoder_dim, decoder_dim) =
            (config.d_model / config.encoder_attention_heads, config.d_model / config.decoder_attention_heads);
        let encoder = (0..config.encoder_layers).map(|i| {
            let name = format!("model.encoder.layers.{i}");
            Ok(EncoderLayer {
                attention: Attention::load(view, &name, "self_attn", encoder_dim)?,
                feed_forward: FeedForward::load(view, &name)?,
            })
        });
        let decoder = (0..config.decoder_layers).map(|i| {
            let name = format!("model.decoder.layers.{i}");
            Ok(DecoderLayer {
                attention: Attention::load(view, &name, "self_attn", decoder_dim)?,
                encoder_attention: Attention::load(view, &name, "encoder_attn", decoder_dim)?,
                feed_forward: FeedForward::load(view, &name)?,
            })
        });
        Ok(Self {
            config: config.clone(),
            conv1: Conv::load_1d(view, "model.encoder.conv1", 1, 1)?,
            conv2: Conv::load_1d(view, "model.encoder.conv2", 2, 1)?,
            encoder_positions: view.get("model.encoder.embed_positions.weight")?,
            encoder: encoder.collect::<candle_core::Result<_>>()?,
            encoder_norm: norm("model.encoder.layer_norm")?,
            embedding,
            decoder_positions: view.get("model.decoder.embed_positions.weight")?,
            decoder: decoder.collect::<candle_core::Result<_>>()?,
            decoder_norm: norm("model.decoder.layer_norm")?,
            proj_out,
        })
    }

    /// `input_features` `[B, mel bins, frames]` to `[B, positions, d]`.
    fn encode(&self, input_features: &Tensor) -> candle_core::Result<Tensor> {
        let x = gelu(&self.conv1.forward(&input_features.unsqueeze(2)?)?)?;
        let x = gelu(&self.conv2.forward(&x)?)?;
        let mut x = x.squeeze(2)?.transpose(1, 2)?.broadcast_add(&self.encoder_positions)?;
        for layer in &self.encoder {
            let y = layer.attention.norm.forward(&x)?;
            let (k, v) = layer.attention.keys_and_values(&y)?;
            x = (x + layer.attention.forward(&y, &k, &v, None)?)?;
            x = (&x + layer.feed_forward.forward(&x)?)?;
        }
        self.encoder_norm.forward(&x)
    }

    /// Keys and values of the encoder's output for every decoder layer.
    fn cross(&self, encoded: &Tensor) -> candle_core::Result<Vec<(Tensor, Tensor)>> {
        self.decoder.iter().map(|layer| layer.encoder_attention.keys_and_values(encoded)).collect()
    }

    /// `ids` `[B, T]` to hidden states `[B, T, d]`, after what `cache` holds.
    fn decode(
        &self,
        ids: &Tensor,
        cross: &[(Tensor, Tensor)],
        mut cache: Option<&mut Cache>,
    ) -> candle_core::Result<Tensor> {
        let t = ids.dim(1)?;
        let past = cache.as_ref().map_or(0, |cache| cache.length());
        let mask = if t > 1 { Some(causal_mask(t, past, ids.device())?) } else { None };
        let x = embedding(&self.embedding, ids, self.config.padding_row)?;
        let mut x = x.broadcast_add(&self.decoder_positions.narrow(0, past, t)?)?;
        for (i, (layer, (cross_k, cross_v))) in self.decoder.iter().zip(cross).enumerate() {
            let y = layer.attention.norm.forward(&x)?;
            let (k, v) = layer.attention.keys_and_values(&y)?;
            let (k, v) = match &mut cache {
                None => (k, v),
                Some(cache) => cache.append(i, &k, &v)?,
            };
            x = (x + layer.attention.forward(&y, &k, &v, mask.as_ref())?)?;
            let y = layer.encoder_attention.norm.forward(&x)?;
            x = (x + layer.encoder_attention.forward(&y, cross_k, cross_v, None)?)?;
            x = (&x + layer.feed_forward.forward(&x)?)?;
        }
        self.decoder_norm.forward(&x)
    }
}

impl Network for Whisper {
    fn output_name(&self) -> &'static str {
        "logits"
    }

    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound> {
        let (c, inputs) = (&self.config, self.config.inputs(inputs, with_loss)?);
        let ids = [inputs.batch, inputs.seq];
        let bound = Bound::on(device)
            .f32("input_features", inputs.input_features, &[inputs.batch, c.num_mel_bins, c.frames()])?
            .ids("decoder_input_ids", inputs.decoder_input_ids, &ids)?;
        match inputs.labels {
            None => Ok(bound),
            Some(labels) => bound.ids("labels", labels, &ids),
        }
    }

    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let cross = self.cross(&self.encode(inputs.get("input_features")?)?)?;
        self.proj_out.forward(&self.decode(inputs.get("decoder_input_ids")?, &cross, None)?)
    }

    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let logits = self.forward(inputs)?.flatten(0, 1)?;
        cross_entropy(&logits, &inputs.get("labels")?.flatten_all()?)
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }

    fn most_new_tokens(&self, inputs: &Bound) -> candle_core::Result<usize> {
        // The last token is not read again.
        Ok(self.config.max_target_positions - inputs.get("decoder_input_ids")?.dim(1)? + 1)
    }
}

impl Decoder for Whisper {
    fn start(&self, inputs: &Bound, new_tokens: usize) -> candle_core::Result<(Tensor, Cache)> {
        let prompt = inputs.get("decoder_input_ids")?;
        let mut cache = Cache::new(self.config.decoder_layers, prompt.dim(1)? + new_tokens);
        cache.cross = self.cross(&self.encode(inputs.get("input_features")?)?)?;
        Ok((self.advance(prompt, &mut cache)?, cache))
    }

    fn advance(&self, ids: &Tensor, cache: &mut Cache) -> candle_core::Result<Tensor> {
        let cross = std::mem::take(&mut cache.cross);
        let hidden = self.decode(ids, &cross, Some(cache))?;
        cache.cross = cross;
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?.contiguous()?;
        self.proj_out.forward(&last)?.squeeze(1)
    }
}

impl Attention {
    fn load(view: &View<'_>, layer: &str, name: &str, head_dim: usize) -> candle_core::Result<Self> {
        let linear = |part| Linear::load(view, &format!("{layer}.{name}.{part}"));
        Ok(Self {
            norm: LayerNorm::load(view, &format!("{layer}.{name}_layer_norm"), WhisperConfig::LAYER_NORM_EPS)?,
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            head_dim,
        })
    }

    /// Of `source` `[B, S, d]`: `[B, H, S, head_dim]` each.
    fn keys_and_values(&self, source: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let project = |linear: &Linear| heads(&linear.forward(source)?, self.head_dim);
        Ok((project(&self.k_proj)?, project(&self.v_proj)?))
    }

    /// Of `x` `[B, T, d]`, already normalised.
    fn forward(&self, x: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let q = heads(&self.q_proj.forward(x)?, self.head_dim)?;
        self.out_proj.forward(&attend(&q, k, v, mask)?)
    }
}

impl FeedForward {
    fn load(view: &View<'_>, layer: &str) -> candle_core::Result<Self> {
        let linear = |part| Linear::load(view, &format!("{layer}.{part}"));
        let norm = LayerNorm::load(view, &format!("{layer}.final_layer_norm"), WhisperConfig::LAYER_NORM_EPS)?;
        Ok(Self { norm, fc1: linear("fc1")?, fc2: linear("fc2")? })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.fc2.forward(&gelu(&self.fc1.forward(&self.norm.forward(x)?)?)?)
    }
}
