//! `decode`: greedy generation with a key/value cache. One graph reads the prompt, another one new position a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use arena_runner::{Boundary, Execution, Inputs, Output, Program, Result};
use meganeura::{NodeId, Session};

use crate::architecture::{Architecture, Feed, Values};
use crate::attention::Cache;
use crate::layout::swap_leading;
use crate::net::Net;
use crate::program::guard;
use crate::readback::Readback;

/// An architecture that generates token by token.
pub trait Generative: Architecture {
    /// Samples, and positions of the prompt.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor, also when `new_tokens` more positions are too many.
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<Prompt>;

    /// Appends the pass over the prompt.
    fn start(&self, net: &mut Net, prompt: Prompt) -> Start;

    /// Appends the pass over one new position of every sample: the logits `[B, V]` after it.
    fn next(&self, net: &mut Net, prompt: Prompt) -> NodeId;

    /// The values of the inputs of [`Generative::next`] for these tokens, one a sample, at this position.
    fn next_feeds(&self, tokens: &[i64], position: usize) -> Vec<Feed>;

    /// V.
    fn vocabulary(&self) -> usize;
}

/// The dimensions of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// B.
    pub batch: usize,
    /// T, positions of the prompt.
    pub seq: usize,
    /// N.
    pub new_tokens: usize,
}

impl Prompt {
    /// Positions that are ever written to a cache.
    pub fn length(&self) -> usize {
        self.seq + self.new_tokens
    }
}

/// What the pass over the prompt leaves.
pub struct Start {
    /// Logits of the last position, `[B, V]`.
    pub logits: NodeId,
    /// Keys and values of every position, `[T * B, heads * width]`, for each cache.
    pub caches: Vec<(Cache, [NodeId; 2])>,
    /// Other results, under the names of the inputs that they become.
    pub constants: Vec<(String, NodeId)>,
}

/// What to do with an output of the pass over the prompt.
enum Handover {
    Keys(Cache),
    Values(Cache),
    Constant(String),
}

/// The program of `decode`.
pub struct Decode {
    architecture: Rc<dyn Generative>,
    prompt: Prompt,
    start: Rc<RefCell<Session>>,
    next: Rc<RefCell<Session>>,
    /// Outputs `1..` of `start`: how many values, and where they go.
    handovers: Vec<(usize, Handover)>,
    inputs: Inputs,
    readback: RefCell<Readback>,
    /// `[N, B]`.
    tokens: Vec<i64>,
    /// `[N, B, V]`.
    logits: Vec<f32>,
}

impl Decode {
    /// Compiles both graphs by `compile`.
    ///
    /// # Errors
    /// `invalid_inputs` or `internal`.
    pub fn new(
        architecture: Rc<dyn Generative>,
        inputs: &Inputs,
        new_tokens: usize,
        readback: Readback,
        compile: impl Fn(&Net) -> Result<Rc<RefCell<Session>>>,
    ) -> Result<Self> {
        let prompt = architecture.prompt(inputs, new_tokens)?;
        let parameters = architecture.parameters();
        let mut net = Net::new(&parameters, false);
        let start = architecture.start(&mut net, prompt);
        let mut outputs = vec![start.logits];
        let mut handovers = Vec::new();
        let mut hand = |net: &Net, node: NodeId, handover: Handover| {
            outputs.push(node);
            handovers.push((net.dims(node).iter().product(), handover));
        };
        for (cache, [keys, values]) in start.caches {
            hand(&net, keys, Handover::Keys(cache.clone()));
            hand(&net, values, Handover::Values(cache));
        }
        for (name, node) in start.constants {
            hand(&net, node, Handover::Constant(name));
        }
        net.graph.set_outputs(outputs);
        let start = compile(&net)?;
        let mut net = Net::new(&parameters, false);
        let logits = architecture.next(&mut net, prompt);
        net.graph.set_outputs(vec![logits]);
        let step = compile(&net)?;
        let (tokens, logits, inputs, readback) = (Vec::new(), Vec::new(), inputs.clone(), RefCell::new(readback));
        Ok(Self { architecture, prompt, start, next: step, handovers, inputs, readback, tokens, logits })
    }

    /// How many logits `[B, V]` a pass makes.
    fn width(&self) -> usize {
        self.prompt.batch * self.architecture.vocabulary()
    }

    /// Runs a session and reads its logits `[B, V]`.
    fn run(&self, session: &mut Session) -> Vec<f32> {
        session.step();
        let mut readback = self.readback.borrow_mut();
        readback.read(session, &[(0, self.width())]);
        session.wait();
        readback.values(0).to_vec()
    }

    /// Reads the prompt and fills the caches.
    fn read_prompt(&self) -> Result<Vec<f32>> {
        let feeds = self.architecture.feeds(&self.inputs, false)?;
        guard("prompt", || {
            let (mut start, mut next) = (self.start.borrow_mut(), self.next.borrow_mut());
            write(&mut start, &feeds);
            start.step();
            let sizes = std::iter::once(self.width()).chain(self.handovers.iter().map(|&(size, _)| size));
            let outputs: Vec<(usize, usize)> = sizes.enumerate().collect();
            let mut readback = self.readback.borrow_mut();
            readback.read(&start, &outputs);
            for (i, (_, handover)) in self.handovers.iter().enumerate() {
                let values = readback.values(i + 1);
                match handover {
                    Handover::Keys(cache) => {
                        next.set_input(&format!("{}.keys", cache.name), &cache.filled(values, true));
                    }
                    Handover::Values(cache) => {
                        next.set_input(&format!("{}.values", cache.name), &cache.filled(values, false));
                    }
                    Handover::Constant(name) => next.set_input(name, values),
                }
            }
            start.wait();
            readback.values(0).to_vec()
        })
    }

    /// Takes the token of the largest logit of every sample, the first of equals.
    fn choose(&mut self, logits: Vec<f32>) -> Vec<i64> {
        let largest =
            |row: &[f32]| row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best });
        let tokens: Vec<i64> = logits
            .chunks_exact(self.architecture.vocabulary())
            .map(|r| i64::try_from(largest(r)).expect("a vocabulary fits"))
            .collect();
        self.tokens.extend(&tokens);
        self.logits.extend(logits);
        tokens
    }
}

impl Program for Decode {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.architecture.prompt(inputs, self.prompt.new_tokens)?;
        self.inputs = inputs.clone();
        Ok(())
    }

    /// Every token passes through the host, which chooses it, so that both boundaries are the same.
    fn execute(&mut self, _boundary: Boundary) -> Result<Execution> {
        let begin = Instant::now();
        self.tokens.clear();
        self.logits.clear();
        let logits = self.read_prompt()?;
        let mut tokens = self.choose(logits);
        let first_token = Some(begin.elapsed());
        for i in 1..self.prompt.new_tokens {
            let feeds = self.architecture.next_feeds(&tokens, self.prompt.seq + i - 1);
            let logits = guard("token", || {
                let mut next = self.next.borrow_mut();
                write(&mut next, &feeds);
                self.run(&mut next)
            })?;
            tokens = self.choose(logits);
        }
        Ok(Execution { first_token })
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let (batch, steps, width) = (self.prompt.batch, self.prompt.new_tokens, self.architecture.vocabulary());
        let tokens = swap_leading(&self.tokens, steps, batch, 1);
        let logits = swap_leading(&self.logits, steps, batch, width);
        Ok(vec![Output::i64("tokens", &[batch, steps], tokens), Output::f32("logits", &[batch, steps, width], logits)])
    }
}

/// Writes the values of a graph's inputs to the device.
pub fn write(session: &mut Session, feeds: &[Feed]) {
    for feed in feeds {
        match &feed.values {
            Values::F32(values) => session.set_input(&feed.name, values),
            Values::U32(ids) => session.set_input_u32(&feed.name, ids),
        }
    }
}
