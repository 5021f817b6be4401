//! `whisper`: transformers `WhisperForConditionalGeneration` (Radford et al. 2022), encoder and decoder.

use arena_runner::architecture::Parameter;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Mask, attention};
use crate::image::{Image, Kernel};
use crate::layout::{Layout, one_hot, swap_leading};
use crate::net::Net;
use crate::ops::gelu;

/// Two stacks of pre-norm blocks, the second attending to the first.
pub struct Whisper {
    config: WhisperConfig,
}

impl Whisper {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: WhisperConfig::parse(config)? })
    }

    /// Logits `[T * B, V]` of every position, time-major.
    fn forward(&self, net: &mut Net, batch: usize, seq: usize) -> NodeId {
        let encoded = self.encode(net, batch);
        let ids = net.graph.input_u32("decoder_input_ids", &[seq * batch]);
        let positions = net.graph.input_u32("decoder_positions", &[seq * batch]);
        let embedding = net.parameter("model.decoder.embed_tokens.weight");
        let table = net.parameter("model.decoder.embed_positions.weight");
        let tokens = net.graph.embedding(ids, embedding);
        let places = net.graph.embedding(positions, table);
        let mut x = net.graph.add(tokens, places);
        let heads = self.config.decoder_attention_heads;
        for i in 0..self.config.decoder_layers {
            let layer = format!("model.decoder.layers.{i}");
            x = self.attend(net, x, None, &format!("{layer}.self_attn"), batch, heads, Mask::Causal);
            x = self.attend(net, x, Some(encoded), &format!("{layer}.encoder_attn"), batch, heads, Mask::None);
            x = feed(net, x, &layer);
        }
        let x = net.layer_norm(x, "model.decoder.layer_norm", WhisperConfig::LAYER_NORM_EPS);
        let head = if self.config.tie_word_embeddings { embedding } else { net.parameter("proj_out.weight") };
        net.graph.matmul_bt(x, head)
    }

    /// Mean cross entropy of each position's logits against its label.
    fn loss(net: &mut Net, logits: NodeId) -> NodeId {
        let labels = net.graph.input("labels", net.dims(logits).to_vec().as_slice());
        net.graph.cross_entropy_loss(logits, labels)
    }

    /// The encoder's states `[S * B, d_model]`, time-major.
    fn encode(&self, net: &mut Net, batch: usize) -> NodeId {
        let c = &self.config;
        let node = net.graph.input("input_features", &[batch * c.num_mel_bins * c.frames()]);
        let features = Image { node, batch, channels: c.num_mel_bins, height: 1, width: c.frames() };
        let kernel = |stride| Kernel { out: c.d_model, height: 1, width: 3, stride };
        let x = features.convolve_biased(net, "model.encoder.conv1", kernel(1));
        let x = x.with(gelu(net, x.node));
        let x = x.convolve_biased(net, "model.encoder.conv2", kernel(2));
        let x = x.with(gelu(net, x.node)).tokens(net);
        let positions = net.graph.input_u32("encoder_positions", &[c.max_source_positions * batch]);
        let table = net.frozen("model.encoder.embed_positions.weight", "values", |value| value);
        let places = net.graph.embedding(positions, table);
        let mut x = net.graph.add(x, places);
        for i in 0..c.encoder_layers {
            let layer = format!("model.encoder.layers.{i}");
            let name = format!("{layer}.self_attn");
            x = self.attend(net, x, None, &name, batch, c.encoder_attention_heads, Mask::None);
            x = feed(net, x, &layer);
        }
        net.layer_norm(x, "model.encoder.layer_norm", WhisperConfig::LAYER_NORM_EPS)
    }

    /// Attention behind a norm and a residual, to `source` or to itself.
    #[allow(clippy::too_many_arguments)]
    fn attend(
        &self,
        net: &mut Net,
        x: NodeId,
        source: Option<NodeId>,
        name: &str,
        batch: usize,
        heads: usize,
        mask: Mask,
    ) -> NodeId {
        let normed = net.layer_norm(x, &format!("{name}_layer_norm"), WhisperConfig::LAYER_NORM_EPS);
        let source = source.unwrap_or(normed);
        let qkv = [("q_proj", normed, true), ("k_proj", source, false), ("v_proj", source, true)]
            .map(|(part, x, bias)| net.linear(x, &format!("{name}.{part}"), bias));
        let mixed = attention(net, qkv, batch, (heads, heads), self.config.d_model / heads, mask);
        let mixed = net.linear(mixed, &format!("{name}.out_proj"), true);
        net.graph.add(x, mixed)
    }
}

/// The feed-forward layer behind its norm and residual.
fn feed(net: &mut Net, x: NodeId, layer: &str) -> NodeId {
    let normed = net.layer_norm(x, &format!("{layer}.final_layer_norm"), WhisperConfig::LAYER_NORM_EPS);
    let hidden = net.linear(normed, &format!("{layer}.fc1"), true);
    let hidden = gelu(net, hidden);
    let fed = net.linear(hidden, &format!("{layer}.fc2"), true);
    net.graph.add(x, fed)
}

/// Positions `0..count`, each once for every sample.
fn positions(count: usize, batch: usize) -> Vec<i64> {
    (0..count as i64).flat_map(|position| std::iter::repeat_n(position, batch)).collect()
}

impl Architecture for Whisper {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let node = self.forward(net, inputs.batch, inputs.seq);
        let layout = Layout::TimeMajor { batch: inputs.batch, time: inputs.seq, width: self.config.vocab_size };
        Ok(Head { name: "logits", node, layout })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let logits = self.forward(net, inputs.batch, inputs.seq);
        Ok(Self::loss(net, logits))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let inputs = self.config.inputs(inputs, labels)?;
        let (batch, seq) = (inputs.batch, inputs.seq);
        let mut feeds = vec![
            Feed::f32("input_features", inputs.input_features.to_vec()),
            Feed::ids("encoder_positions", &positions(self.config.max_source_positions, batch)),
            Feed::ids("decoder_input_ids", &swap_leading(inputs.decoder_input_ids, batch, seq, 1)),
            Feed::ids("decoder_positions", &positions(seq, batch)),
        ];
        if let Some(labels) = inputs.labels {
            let labels = swap_leading(labels, batch, seq, 1).into_iter().map(|id| usize::try_from(id).ok());
            feeds.push(Feed::f32("labels", one_hot(labels, self.config.vocab_size, 1.0)));
        }
        Ok(feeds)
    }
}
