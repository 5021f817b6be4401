//! A loaded model and the programs that it prepares.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Boundary, Error, Execution, Inputs, Model, Output, Parameters, Program, Result, Task, Weights};
use luminal::prelude::{Graph, NodeIndex, Tensor as Data};

use crate::autograd::gradients;
use crate::ops;
use crate::passes::Passes;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// A model family: what it is made of and how its graph is built.
pub trait Architecture {
    /// Every tensor of the checkpoint.
    fn parameters(&self) -> Vec<Parameter>;

    /// The inputs of a task, checked, as the graph takes them; with `labels`, what the loss compares with too.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>>;

    /// The contract's name of the output of `infer`.
    fn output(&self) -> &'static str;

    /// The output of `infer`.
    fn forward(&self, scope: &mut Scope) -> Tensor;

    /// The scalar loss of `train`.
    fn loss(&self, scope: &mut Scope) -> Tensor;
}

/// The parameters of a loaded model, lent to the graph of whichever program executes.
struct Store {
    parameters: Vec<Parameter>,
    values: RefCell<Vec<Option<Data>>>,
}

/// A model whose parameters are in memory.
pub struct Loaded {
    architecture: Rc<dyn Architecture>,
    store: Rc<Store>,
}

impl Loaded {
    /// Reads every parameter.
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor.
    pub fn new(architecture: impl Architecture + 'static, weights: &Weights) -> Result<Self> {
        let parameters = architecture.parameters();
        let read = |p: &Parameter| Ok(Some(Data::new(weights.f32(&p.name, &p.shape)?)));
        let values = parameters.iter().map(read).collect::<Result<_>>()?;
        Ok(Self {
            architecture: Rc::new(architecture),
            store: Rc::new(Store { parameters, values: RefCell::new(values) }),
        })
    }
}

impl Model for Loaded {
    fn parameters(&self) -> Parameters {
        let count = self.store.parameters.iter().map(|p| p.shape.iter().product::<usize>() as u64).sum();
        Parameters { count, bytes: 4 * count }
    }

    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        let labels = match task {
            Task::Infer => false,
            Task::Train => true,
            Task::Decode { .. } | Task::Step(_) => {
                return Err(Error::unsupported(format!("task `{}` is not supported", task.name())));
            }
        };
        Ok(Box::new(GraphProgram::new(self, labels, inputs)?))
    }
}

/// An output of a program.
struct Target {
    name: String,
    shape: Vec<usize>,
    node: NodeIndex,
}

/// A compiled graph.
struct GraphProgram {
    architecture: Rc<dyn Architecture>,
    store: Rc<Store>,
    graph: Box<Graph>,
    labels: bool,
    /// Where each parameter of the store goes that the graph reads.
    borrowed: Vec<(usize, NodeIndex)>,
    feeds: Vec<NodeIndex>,
    targets: Vec<Target>,
    results: HashMap<NodeIndex, Data>,
}

impl GraphProgram {
    fn new(model: &Loaded, labels: bool, inputs: &Inputs) -> Result<Self> {
        let architecture = Rc::clone(&model.architecture);
        let store = Rc::clone(&model.store);
        let feeds = architecture.feeds(inputs, labels)?;
        // Tensors point to the graph: it stays where it is.
        let mut graph = Box::new(Graph::new());
        let mut scope = Scope::new(&mut graph, &store.parameters);
        let feeds = feeds.into_iter().map(|feed| scope.feed(feed)).collect();
        let mut targets = vec![];
        if labels {
            let loss = architecture.loss(&mut scope);
            targets.push(("loss".to_owned(), loss));
            let trained: Vec<&Parameter> = store.parameters.iter().filter(|p| p.trainable).collect();
            let wrt: Vec<Tensor> = trained.iter().map(|p| scope.parameter(&p.name)).collect();
            let found = gradients(scope.graph(), loss, &wrt);
            for ((parameter, gradient), value) in trained.iter().zip(found).zip(&wrt) {
                // A parameter that the loss does not depend on has a gradient of zero.
                let gradient = gradient.unwrap_or_else(|| *value * 0.0);
                targets.push((format!("grad.{}", parameter.name), gradient));
            }
        } else {
            targets.push((architecture.output().to_owned(), architecture.forward(&mut scope)));
        }
        let used = scope.used().clone();
        let targets = targets
            .into_iter()
            .map(|(name, tensor)| {
                let tensor = tensor.contiguous();
                Target { name, shape: tensor.shape(), node: tensor.node() }
            })
            .collect::<Vec<_>>();
        graph.retrieve_tensors(targets.iter().map(|t| t.node).collect::<Vec<_>>());
        graph.compile(Passes::default(), ());
        let borrowed = store.parameters.iter().enumerate();
        let borrowed = borrowed.filter_map(|(i, p)| Some((i, used.get(&p.name)?.node()))).collect();
        Ok(Self { architecture, store, graph, labels, borrowed, feeds, targets, results: HashMap::new() })
    }
}

impl Program for GraphProgram {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        for (feed, &node) in self.architecture.feeds(inputs, self.labels)?.into_iter().zip(&self.feeds) {
            self.graph.set_tensor(node, 0, feed.data);
        }
        Ok(())
    }

    fn execute(&mut self, _: Boundary) -> Result<Execution> {
        // luminal skips every node whose output it still holds: nothing computed may be left in the graph.
        self.results.clear();
        let mut values = self.store.values.borrow_mut();
        for &(i, node) in &self.borrowed {
            let value = values[i].take().expect("no other program executes");
            self.graph.set_tensor(node, 0, value);
        }
        self.graph.execute();
        for &(i, node) in &self.borrowed {
            values[i] = self.graph.get_tensor(node, 0);
        }
        for target in &self.targets {
            if let Some(value) = self.graph.get_tensor(target.node, 0) {
                self.results.insert(target.node, value);
            }
        }
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let read = |target: &Target| {
            let value = self.results.get(&target.node);
            let value = value.ok_or_else(|| Error::internal("outputs are asked for before the first execution"))?;
            Ok(Output::f32(&target.name, &target.shape, ops::data(value)))
        };
        self.targets.iter().map(read).collect()
    }
}
