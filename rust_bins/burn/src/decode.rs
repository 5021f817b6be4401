//! `decode`: greedy generation with a key/value cache.

use std::rc::Rc;
use std::time::Instant;

use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result};
use burn::tensor::{Int, Tensor};

use crate::program::{Architecture, Loaded, Values, internal};

/// An architecture that generates token by token.
pub trait Generative: Architecture {
    /// The keys and values so far.
    type Cache;

    /// The inputs of `decode`: those of `infer`, with tables long enough for `new_tokens` more positions.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn prompt(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Self::Batch>;

    /// Reads the prompt: the cache, and the logits `[B, V]` of its last position.
    fn start(&self, batch: &Self::Batch) -> (Self::Cache, Tensor<2>);

    /// Reads one token a row, `[B, 1]`: the logits `[B, V]` after it.
    fn next(&self, batch: &Self::Batch, cache: &mut Self::Cache, tokens: Tensor<2, Int>) -> Tensor<2>;
}

/// The program of `decode`.
pub struct Decode<A: Generative> {
    loaded: Loaded<A>,
    batch: A::Batch,
    new_tokens: usize,
    /// A row of ids and the logits that they were taken from, a step.
    steps: Vec<(Vec<i64>, Values)>,
    /// V.
    classes: usize,
}

impl<A: Generative> Decode<A> {
    /// The program for the shapes of `inputs`.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn new(loaded: &Loaded<A>, inputs: &Inputs, new_tokens: usize) -> Result<Self> {
        let batch = A::prompt(loaded, inputs, new_tokens)?;
        let loaded = Loaded {
            config: Rc::clone(&loaded.config),
            store: Rc::clone(&loaded.store),
            device: loaded.device.clone(),
        };
        Ok(Self { loaded, batch, new_tokens, steps: Vec::new(), classes: 0 })
    }

    fn rows(&self) -> usize {
        self.steps.first().map_or(0, |(ids, _)| ids.len())
    }

    /// `[B, N, V]` from one `[B, V]` a step.
    fn logits(&self) -> Result<Vec<f32>> {
        let steps: Vec<_> = self.steps.iter().map(|(_, logits)| logits.read()).collect::<Result<_>>()?;
        let row = |b: usize| b * self.classes..(b + 1) * self.classes;
        let mut all = Vec::with_capacity(self.rows() * steps.len() * self.classes);
        for b in 0..self.rows() {
            for step in &steps {
                all.extend_from_slice(&step[row(b)]);
            }
        }
        Ok(all)
    }
}

impl<A: Generative> Program for Decode<A> {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.batch = A::prompt(&self.loaded, inputs, self.new_tokens)?;
        Ok(())
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        let begin = Instant::now();
        self.steps.clear();
        let mut first_token = None;
        let model = A::load(&self.loaded.config, &self.loaded.store.constants());
        let (mut cache, mut logits) = model.start(&self.batch);
        for step in 0..self.new_tokens {
            let [rows, classes] = logits.dims();
            let tokens = logits.clone().argmax(1);
            // Reading the ids waits for the device: this is when the token exists.
            let ids = tokens.to_data().try_to_vec_as::<i64>().map_err(|e| Error::internal(format!("{e:?}")))?;
            first_token.get_or_insert_with(|| begin.elapsed());
            self.classes = classes;
            let values = Values::all([logits.clone().reshape([rows * classes])], boundary)?;
            self.steps.extend(std::iter::once(ids).zip(values));
            if step + 1 < self.new_tokens {
                logits = model.next(&self.batch, &mut cache, tokens);
            }
        }
        if boundary == Boundary::Device {
            self.loaded.device.sync().map_err(internal)?;
        }
        Ok(Execution { first_token })
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let (rows, steps) = (self.rows(), self.steps.len());
        let tokens: Vec<i64> = (0..rows).flat_map(|b| self.steps.iter().map(move |(ids, _)| ids[b])).collect();
        Ok(vec![
            Output::i64("tokens", &[rows, steps], tokens),
            Output::lazy("logits", &[rows, steps, self.classes], || self.logits()),
        ])
    }
}
