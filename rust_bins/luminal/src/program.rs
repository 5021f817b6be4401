//! `infer`, `train` and `step`: one graph, compiled for fixed shapes.

use std::collections::HashMap;
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result, Task};
use luminal::prelude::{Graph, NodeIndex, Tensor as Data};

use crate::autograd::gradients;
use crate::model::{Architecture, Store};
use crate::ops;
use crate::optimizer::{Schedule, update};
use crate::passes::Passes;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// Where a value that a graph borrows lives between executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// The model's store, by the parameter's number.
    Parameter(usize),
    /// The program's own state: the optimizer's moments.
    State(usize),
}

/// A value that is moved into the graph for an execution and back, or replaced by what the graph computed.
struct Loan {
    home: Home,
    read: NodeIndex,
    written: Option<NodeIndex>,
}

/// An output of a program.
struct Target {
    name: String,
    shape: Vec<usize>,
    source: Place,
}

/// Where an output is found after an execution.
#[derive(Debug, Clone, Copy)]
enum Place {
    Result(NodeIndex),
    Parameter(usize),
}

/// A compiled graph.
pub struct GraphProgram {
    architecture: Rc<dyn Architecture>,
    store: Rc<Store>,
    graph: Box<Graph>,
    labels: bool,
    loans: Vec<Loan>,
    state: Vec<Option<Data>>,
    /// For `step`: the numbers that change with every step.
    schedule: Option<Schedule>,
    feeds: Vec<NodeIndex>,
    targets: Vec<Target>,
    results: HashMap<NodeIndex, Data>,
}

impl GraphProgram {
    /// Builds and compiles the graph of a task.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn new(architecture: Rc<dyn Architecture>, store: Rc<Store>, task: &Task, inputs: &Inputs) -> Result<Self> {
        let labels = task.has_loss();
        let feeds = architecture.feeds(inputs, labels)?;
        // Tensors point to the graph: it stays where it is.
        let mut graph = Box::new(Graph::new());
        let mut scope = Scope::new(&mut graph, &store.parameters);
        let feeds = feeds.into_iter().map(|feed| scope.feed(feed)).collect();
        let mut program = Parts::default();
        if labels {
            program.train(&*architecture, &store, &mut scope, task);
        } else {
            let output = architecture.forward(&mut scope);
            program.keep(architecture.output(), output);
        }
        let used = scope.used().clone();
        let Parts { targets, mut loans, state, schedule, kept } = program;
        graph.retrieve_tensors(kept);
        graph.compile(Passes::default(), ());
        for (i, parameter) in store.parameters.iter().enumerate() {
            let home = Home::Parameter(i);
            if let Some(tensor) = used.get(&parameter.name).filter(|_| loans.iter().all(|loan| loan.home != home)) {
                loans.push(Loan { home, read: tensor.node(), written: None });
            }
        }
        Ok(Self { architecture, store, graph, labels, loans, state, schedule, feeds, targets, results: HashMap::new() })
    }
}

/// A program while it is built.
#[derive(Default)]
struct Parts {
    targets: Vec<Target>,
    loans: Vec<Loan>,
    state: Vec<Option<Data>>,
    schedule: Option<Schedule>,
    kept: Vec<NodeIndex>,
}

impl Parts {
    fn keep(&mut self, name: &str, tensor: Tensor) {
        let tensor = tensor.contiguous();
        self.kept.push(tensor.node());
        self.targets.push(Target { name: name.into(), shape: tensor.shape(), source: Place::Result(tensor.node()) });
    }

    /// The loss, every gradient, and for `step` the update.
    fn train(&mut self, architecture: &dyn Architecture, store: &Store, scope: &mut Scope, task: &Task) {
        let loss = architecture.loss(scope);
        self.keep("loss", loss);
        let trained: Vec<(usize, &Parameter)> =
            store.parameters.iter().enumerate().filter(|(_, p)| p.trainable).collect();
        let values: Vec<Tensor> = trained.iter().map(|(_, p)| scope.parameter(&p.name)).collect();
        let found = gradients(scope.graph(), loss, &values);
        if let Task::Step(optimizer) = task {
            self.schedule = Some(Schedule::new(optimizer.clone(), scope));
        }
        for (((i, parameter), gradient), value) in trained.into_iter().zip(found).zip(values) {
            // A parameter that the loss does not depend on has a gradient of zero.
            let gradient = gradient.unwrap_or_else(|| value * 0.0);
            match &self.schedule {
                None => self.keep(&format!("grad.{}", parameter.name), gradient),
                Some(schedule) => {
                    let changed = update(schedule, scope, value, gradient);
                    self.lend(Home::Parameter(i), value, changed.value);
                    for (before, after) in changed.moments {
                        self.state.push(Some(Data::new(vec![0.0_f32; parameter.shape.iter().product()])));
                        self.lend(Home::State(self.state.len() - 1), before, after);
                    }
                    let (name, shape) = (format!("param.{}", parameter.name), parameter.shape.clone());
                    self.targets.push(Target { name, shape, source: Place::Parameter(i) });
                }
            }
        }
    }

    fn lend(&mut self, home: Home, before: Tensor, after: Tensor) {
        let after = after.contiguous();
        self.kept.push(after.node());
        self.loans.push(Loan { home, read: before.node(), written: Some(after.node()) });
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
        if let Some(schedule) = &mut self.schedule {
            schedule.advance(&mut self.graph);
        }
        let mut values = self.store.values.borrow_mut();
        for loan in &self.loans {
            let value = match loan.home {
                Home::Parameter(i) => values[i].take(),
                Home::State(i) => self.state[i].take(),
            };
            self.graph.set_tensor(loan.read, 0, value.expect("no other program executes"));
        }
        self.graph.execute();
        for loan in &self.loans {
            let before = self.graph.get_tensor(loan.read, 0);
            let after = loan.written.map_or(before, |node| self.graph.get_tensor(node, 0));
            match loan.home {
                Home::Parameter(i) => values[i] = after,
                Home::State(i) => self.state[i] = after,
            }
        }
        for target in &self.targets {
            if let Place::Result(node) = target.source
                && let Some(value) = self.graph.get_tensor(node, 0)
            {
                self.results.insert(node, value);
            }
        }
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let missing = || Error::internal("outputs are asked for before the first execution");
        let read = |target: &Target| match target.source {
            Place::Result(node) => {
                let value = self.results.get(&node).ok_or_else(missing)?;
                Ok(Output::f32(&target.name, &target.shape, ops::data(value)))
            }
            Place::Parameter(i) => Ok(Output::lazy(&target.name, &target.shape, move || {
                let values = self.store.values.borrow();
                Ok(ops::data(values[i].as_ref().ok_or_else(missing)?).to_vec())
            })),
        };
        self.targets.iter().map(read).collect()
    }
}
