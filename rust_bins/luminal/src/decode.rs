//! `decode`: greedy generation with a key/value cache.
//!
//! Shapes are fixed when a graph is compiled, so that there are two: one reads the prompt and fills caches that are long
//! enough for every token, one adds a token. A token's keys are added to the zeros of its place in the cache
//! (`cache + place · key`), and a mask hides the places after it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use arena_runner::architecture::Parameter;
use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result};
use luminal::prelude::{Graph, NodeIndex, Tensor as Data};

use crate::model::Store;
use crate::ops;
use crate::passes::Passes;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// An architecture that generates.
pub trait Decoder {
    /// Batch and length of the prompt.
    ///
    /// # Errors
    /// `invalid_inputs` when the prompt is wrong, or with its `new_tokens` longer than the model's positions.
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<(usize, usize)>;

    /// The inputs of the prompt's graph.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn prompt_feeds(&self, inputs: &Inputs) -> Result<Vec<Feed>>;

    /// What a token's graph takes beside the cache: the token, its place among `total`, whatever depends on the position.
    fn token_feeds(&self, tokens: &[i64], position: usize, total: usize) -> Vec<Feed>;

    /// Logits `[B, V]` of the last position, from the prompt or from one token.
    fn next(&self, scope: &mut Scope, memory: &mut Memory) -> Tensor;
}

/// The keys and values that attention layers see, while a graph is built.
pub struct Memory {
    /// The length of the caches; none outside `decode`.
    total: Option<usize>,
    /// Whether the graph is a token's.
    later: bool,
    /// By name: what the graph reads, and what it leaves for the next.
    kept: Vec<(String, Option<Tensor>, Tensor)>,
    shapes: HashMap<String, Vec<usize>>,
}

impl Memory {
    /// No cache: layers see what they compute.
    pub fn none() -> Self {
        Self { total: None, later: false, kept: vec![], shapes: HashMap::new() }
    }

    /// Whether the graph is that of one token after the prompt.
    pub fn is_later(&self) -> bool {
        self.later
    }

    /// Keys or values `[B, T, H, D]` with those before them.
    pub fn extend(&mut self, scope: &mut Scope, name: &str, new: Tensor) -> Tensor {
        let Some(total) = self.total else { return new };
        if !self.later {
            let rest = total - new.dim(1);
            self.keep(name, None, new.pad(1, 0, rest));
            return new;
        }
        let before = self.read(scope, name);
        // One at the token's place, zero elsewhere.
        let place = scope.input("place").reshape(&[total, 1, 1]);
        let after = (before + new.broadcast_to(&before.shape()) * place).contiguous();
        self.keep(name, Some(before), after);
        after
    }

    /// A value that the prompt's graph computes and every token's graph reads unchanged.
    pub fn once(&mut self, scope: &mut Scope, name: &str, compute: impl FnOnce(&mut Scope) -> Tensor) -> Tensor {
        if self.later {
            let value = self.read(scope, name);
            self.keep(name, Some(value), value);
            return value;
        }
        let value = compute(scope).contiguous();
        if self.total.is_some() {
            self.keep(name, None, value);
        }
        value
    }

    fn keep(&mut self, name: &str, read: Option<Tensor>, left: Tensor) {
        let left = left.contiguous();
        self.shapes.insert(name.to_owned(), left.shape());
        self.kept.push((name.to_owned(), read, left));
    }

    fn read(&self, scope: &mut Scope, name: &str) -> Tensor {
        let shape = self.shapes.get(name).unwrap_or_else(|| panic!("the prompt's graph keeps no `{name}`"));
        Tensor::input(scope.graph(), name, shape)
    }
}

/// One of the two graphs.
struct Part {
    graph: Box<Graph>,
    borrowed: Vec<(usize, NodeIndex)>,
    feeds: Vec<NodeIndex>,
    /// The name, the node that reads it and the node that leaves it.
    caches: Vec<(String, Option<NodeIndex>, NodeIndex)>,
    logits: NodeIndex,
}

impl Part {
    fn new(decoder: &dyn Decoder, parameters: &[Parameter], feeds: Vec<Feed>, memory: &mut Memory) -> Self {
        let mut graph = Box::new(Graph::new());
        let mut scope = Scope::new(&mut graph, parameters);
        let feeds = feeds.into_iter().map(|feed| scope.feed(feed)).collect();
        let logits = decoder.next(&mut scope, memory).contiguous().node();
        let used = scope.used().clone();
        let caches: Vec<_> = std::mem::take(&mut memory.kept)
            .into_iter()
            .map(|(name, read, left)| (name, read.map(Tensor::node), left.node()))
            .collect();
        graph.retrieve_tensors(caches.iter().map(|c| c.2).chain([logits]).collect::<Vec<_>>());
        graph.compile(Passes::default(), ());
        let borrowed = parameters.iter().enumerate();
        let borrowed = borrowed.filter_map(|(i, p)| Some((i, used.get(&p.name)?.node()))).collect();
        Self { graph, borrowed, feeds, caches, logits }
    }

    fn set(&mut self, feeds: Vec<Feed>) {
        for (feed, &node) in feeds.into_iter().zip(&self.feeds) {
            self.graph.set_tensor(node, 0, feed.data);
        }
    }

    /// Executes, reading and replacing `caches`; the logits.
    fn run(&mut self, store: &Store, caches: &mut HashMap<String, Data>) -> Data {
        let mut values = store.values.borrow_mut();
        for &(i, node) in &self.borrowed {
            self.graph.set_tensor(node, 0, values[i].take().expect("no other program executes"));
        }
        for (name, read, _) in &self.caches {
            if let (Some(node), Some(cache)) = (read, caches.remove(name)) {
                self.graph.set_tensor(*node, 0, cache);
            }
        }
        self.graph.execute();
        for &(i, node) in &self.borrowed {
            values[i] = self.graph.get_tensor(node, 0);
        }
        for (name, read, left) in &self.caches {
            let after = self.graph.get_tensor(*left, 0).expect("the graph leaves what it keeps");
            if let Some(node) = read {
                self.graph.drop_tensors(*node);
            }
            caches.insert(name.clone(), after);
        }
        self.graph.get_tensor(self.logits, 0).expect("the graph leaves its logits")
    }
}

/// Both graphs and what the latest execution generated.
pub struct DecodeProgram {
    decoder: Rc<dyn Decoder>,
    store: Rc<Store>,
    prompt: Part,
    token: Option<Part>,
    batch: usize,
    prompt_length: usize,
    new_tokens: usize,
    tokens: Vec<i64>,
    logits: Vec<f32>,
}

impl DecodeProgram {
    /// Builds and compiles both graphs.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn new(decoder: Rc<dyn Decoder>, store: Rc<Store>, inputs: &Inputs, new_tokens: usize) -> Result<Self> {
        let (batch, length) = decoder.prompt(inputs, new_tokens)?;
        let total = length + new_tokens;
        let mut memory = Memory { total: Some(total), ..Memory::none() };
        let prompt = Part::new(&*decoder, &store.parameters, decoder.prompt_feeds(inputs)?, &mut memory);
        memory.later = true;
        let token = (new_tokens > 1).then(|| {
            let feeds = decoder.token_feeds(&vec![0; batch], length, total);
            Part::new(&*decoder, &store.parameters, feeds, &mut memory)
        });
        let (tokens, logits) = (vec![], vec![]);
        Ok(Self { decoder, store, prompt, token, batch, prompt_length: length, new_tokens, tokens, logits })
    }
}

/// The place of the largest value of each row, the first of equal ones.
fn argmax(logits: &[f32], rows: usize) -> Vec<i64> {
    let largest = |row: &[f32]| (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    logits.chunks_exact(logits.len() / rows).map(|row| largest(row).cast_signed() as i64).collect()
}

impl Program for DecodeProgram {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.prompt.set(self.decoder.prompt_feeds(inputs)?);
        Ok(())
    }

    fn execute(&mut self, _: Boundary) -> Result<Execution> {
        let start = Instant::now();
        let (mut caches, mut steps) = (HashMap::new(), vec![]);
        let mut logits = self.prompt.run(&self.store, &mut caches);
        let mut tokens = vec![argmax(ops::data(&logits), self.batch)];
        let first_token = Some(start.elapsed());
        let total = self.prompt_length + self.new_tokens;
        for i in 1..self.new_tokens {
            let part = self.token.as_mut().ok_or_else(|| Error::internal("decode without a graph for its tokens"))?;
            let feeds = self.decoder.token_feeds(&tokens[i - 1], self.prompt_length + i - 1, total);
            part.set(feeds);
            steps.push(std::mem::replace(&mut logits, part.run(&self.store, &mut caches)));
            tokens.push(argmax(ops::data(&logits), self.batch));
        }
        steps.push(logits);
        let rows = |b: usize| tokens.iter().map(move |step| step[b]);
        self.tokens = (0..self.batch).flat_map(rows).collect();
        self.logits.clear();
        for b in 0..self.batch {
            for step in &steps {
                let step = ops::data(step);
                let width = step.len() / self.batch;
                self.logits.extend_from_slice(&step[b * width..(b + 1) * width]);
            }
        }
        Ok(Execution { first_token })
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        if self.tokens.is_empty() {
            return Err(Error::internal("outputs are asked for before the first execution"));
        }
        let width = self.logits.len() / self.tokens.len();
        Ok(vec![
            Output::i64("tokens", &[self.batch, self.new_tokens], self.tokens.as_slice()),
            Output::f32("logits", &[self.batch, self.new_tokens, width], self.logits.as_slice()),
        ])
    }
}
