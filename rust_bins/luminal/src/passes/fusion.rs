//! Trees of elementwise primitives, and the reduction at their end, become one [`Kernel`].
//!
//! From the graph's outputs backwards, each elementwise or reducing node that is not yet part of a kernel becomes the root
//! of one, and draws in every elementwise producer that only this kernel reads. A producer stays outside when it would be
//! computed more often than once an element (it is read repeated), or when padding would have to be applied to its results.

use std::collections::{HashMap, HashSet};

use luminal::op::{
    Add, Constant, ConstantValue, Contiguous, Exp2, LessThan, Log2, MaxReduce, Mul, Operator, Recip, Sin, Sqrt,
    SumReduce,
};
use luminal::prelude::petgraph::algo::toposort;
use luminal::prelude::{Compiler, Graph, NodeIndex, ToIdsMut};

use super::{Input, consumers, inputs, rewire};
use crate::ops::{Binary, DetachedMax, Erf, Instruction, Kernel, Reduction, Source, Unary};
use crate::view::{Load, View, contiguous_strides};

/// Instructions in one kernel, so that its registers stay in the first-level cache.
const MAX_INSTRUCTIONS: usize = 48;

/// Replaces every elementwise and reducing primitive.
#[derive(Debug, Default)]
pub struct FusionCompiler;

impl Compiler for FusionCompiler {
    fn compile<T: ToIdsMut>(&self, graph: &mut Graph, _: T) {
        let order = toposort(&graph.graph, None).expect("a graph without cycles");
        for root in order.into_iter().rev() {
            // A constant that is an output of its own stays luminal's.
            if graph.graph.contains_node(root) && !matches!(role(graph, root), Role::Other | Role::Constant(_)) {
                fuse(graph, root);
            }
        }
    }
}

/// What a node is to a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Unary(Unary),
    Binary(Binary),
    Copy,
    Constant(f32),
    Reduction(Reduction, usize),
    Other,
}

fn role(graph: &Graph, node: NodeIndex) -> Role {
    let operator: &dyn Operator = graph.graph[node].as_ref();
    let any = operator.as_any();
    if let Some(Constant(ConstantValue::Float(value), _)) = any.downcast_ref() {
        return Role::Constant(*value);
    }
    if let Some(SumReduce(axis)) = any.downcast_ref() {
        return Role::Reduction(Reduction::Sum, *axis);
    }
    if let Some(MaxReduce(axis)) = any.downcast_ref() {
        return Role::Reduction(Reduction::Max, *axis);
    }
    if let Some(DetachedMax(axis)) = any.downcast_ref() {
        return Role::Reduction(Reduction::Max, *axis);
    }
    let simple: [(bool, Role); 10] = [
        (any.is::<Add>(), Role::Binary(Binary::Add)),
        (any.is::<Mul>(), Role::Binary(Binary::Mul)),
        (any.is::<LessThan>(), Role::Binary(Binary::LessThan)),
        (any.is::<Log2>(), Role::Unary(Unary::Log2)),
        (any.is::<Exp2>(), Role::Unary(Unary::Exp2)),
        (any.is::<Sin>(), Role::Unary(Unary::Sin)),
        (any.is::<Recip>(), Role::Unary(Unary::Recip)),
        (any.is::<Sqrt>(), Role::Unary(Unary::Sqrt)),
        (any.is::<Erf>(), Role::Unary(Unary::Erf)),
        (any.is::<Contiguous>(), Role::Copy),
    ];
    simple.into_iter().find_map(|(found, role)| found.then_some(role)).unwrap_or(Role::Other)
}

/// A node that may become part of a kernel: its role, its inputs, and the shape that it is computed over.
struct Member {
    role: Role,
    inputs: Vec<Input>,
    domain: Vec<usize>,
}

impl Member {
    fn new(graph: &Graph, node: NodeIndex) -> Self {
        let (role, inputs) = (role(graph, node), inputs(graph, node));
        let domain = match (role, inputs.first()) {
            // Luminal's unary operators work on storage, whatever view it is seen through.
            (Role::Unary(_), Some(input)) => input.view.physical.clone(),
            (_, Some(input)) => input.view.shape(),
            (_, None) => vec![],
        };
        Self { role, inputs, domain }
    }

    /// The view of an input over this node's domain.
    fn view(&self, input: usize) -> View {
        let view = &self.inputs[input].view;
        if matches!(self.role, Role::Unary(_)) { whole(&view.physical) } else { view.clone() }
    }
}

/// A contiguous view.
fn whole(shape: &[usize]) -> View {
    View::of(&crate::view::tracker(shape))
}

/// How the root's domain indexes the domain of a member.
#[derive(Debug, Clone, PartialEq)]
struct Access {
    /// For each root axis: the member's axis that it walks, and the range where the member has a value.
    axes: Vec<(Option<usize>, (usize, usize))>,
    /// For each member axis: added to its index.
    shift: Vec<isize>,
}

impl Access {
    fn identity(domain: &[usize]) -> Self {
        Self {
            axes: domain.iter().enumerate().map(|(i, &n)| (Some(i), (0, n))).collect(),
            shift: vec![0; domain.len()],
        }
    }

    /// The access to the storage of an input that the member sees through `view`.
    fn through(&self, view: &View) -> Self {
        let mut shift = vec![0; view.physical.len()];
        for (axis, &own) in view.axes.iter().zip(&self.shift) {
            if let Some(p) = axis.source {
                shift[p] = axis.shift + own;
            }
        }
        let axes = self.axes.iter().map(|&(member, (low, high))| {
            let Some(j) = member else { return (None, (low, high)) };
            let axis = &view.axes[j];
            // The member's valid indices, in terms of the root's: member index = root index + shift.
            let bound = |limit: usize| (limit.cast_signed() - self.shift[j]).max(0).cast_unsigned();
            (axis.source, (low.max(bound(axis.valid.0)), high.min(bound(axis.valid.1))))
        });
        Self { axes: axes.collect(), shift }
    }

    /// The same access with the axes of storage renamed to those of the producer's domain.
    fn renamed(&self, to: &[Option<usize>], rank: usize) -> Self {
        let mut shift = vec![0; rank];
        for (p, &axis) in to.iter().enumerate() {
            if let Some(axis) = axis {
                shift[axis] = self.shift[p];
            }
        }
        Self { axes: self.axes.iter().map(|&(p, valid)| (p.and_then(|p| to[p]), valid)).collect(), shift }
    }

    /// Addresses in storage of that shape.
    fn load(&self, physical: &[usize]) -> Load {
        let strides = contiguous_strides(physical);
        Load {
            offset: self.shift.iter().zip(&strides).map(|(&shift, &stride)| shift * stride.cast_signed()).sum(),
            strides: self.axes.iter().map(|&(p, _)| p.map_or(0, |p| strides[p])).collect(),
            valid: self.axes.iter().map(|&(_, valid)| valid).collect(),
        }
    }
}

/// The axis of `domain` that each axis of `physical` is, when the shapes agree but for axes of length one.
fn aligned(physical: &[usize], domain: &[usize]) -> Option<Vec<Option<usize>>> {
    let mut long = (0..domain.len()).filter(|&i| domain[i] != 1);
    let map: Option<Vec<_>> = physical
        .iter()
        .map(|&n| if n == 1 { Some(None) } else { long.next().filter(|&i| domain[i] == n).map(Some) })
        .collect();
    map.filter(|_| long.next().is_none())
}

/// The nodes that become one kernel.
struct Group {
    members: HashMap<NodeIndex, Member>,
    /// Copies that are read padded: only copies may follow them.
    padded: HashSet<NodeIndex>,
}

impl Group {
    fn grow(graph: &Graph, root: NodeIndex) -> Self {
        let mut group = Self { members: HashMap::from([(root, Member::new(graph, root))]), padded: HashSet::new() };
        // Axes are those of the root's inputs: a reduction's own domain is what it reduces.
        let mut pending: Vec<NodeIndex> = vec![root];
        while let Some(node) = pending.pop() {
            let sources: Vec<NodeIndex> = group.members[&node].inputs.iter().map(|input| input.node).collect();
            for source in sources {
                if !group.members.contains_key(&source) && group.accepts(graph, source) {
                    let member = Member::new(graph, source);
                    group.members.insert(source, member);
                    pending.push(source);
                }
            }
        }
        group
    }

    fn accepts(&mut self, graph: &Graph, source: NodeIndex) -> bool {
        let role = role(graph, source);
        let computed = matches!(role, Role::Unary(_) | Role::Binary(_) | Role::Copy);
        if !computed || graph.no_delete.contains(&source) || self.members.len() >= MAX_INSTRUCTIONS {
            return false;
        }
        let readers = consumers(graph, source);
        if !readers.iter().all(|reader| self.members.contains_key(reader)) {
            return false;
        }
        let domain = Member::new(graph, source).domain;
        let mut padded = false;
        for reader in readers {
            let member = &self.members[&reader];
            let after_padding = self.padded.contains(&reader);
            for i in (0..member.inputs.len()).filter(|&i| member.inputs[i].node == source) {
                let view = member.view(i);
                let repeated = view.axes.iter().any(|axis| axis.source.is_none() && axis.extent > 1);
                let cut = after_padding || view.axes.iter().any(|axis| !axis.is_whole());
                if aligned(&view.physical, &domain).is_none() || (role != Role::Copy && (repeated || cut)) {
                    return false;
                }
                padded |= cut;
            }
        }
        if padded {
            self.padded.insert(source);
        }
        true
    }
}

/// A program while it is written.
struct Writer<'a> {
    graph: &'a Graph,
    group: &'a Group,
    /// The root's.
    domain: &'a [usize],
    sources: Vec<NodeIndex>,
    loads: Vec<(usize, Load)>,
    instructions: Vec<Instruction>,
    done: HashMap<NodeIndex, Vec<(Access, Source)>>,
}

impl Writer<'_> {
    /// The value of a member at every point of the root's domain.
    fn member(&mut self, node: NodeIndex, access: &Access) -> Source {
        if let Some(found) = self.done.get(&node).and_then(|all| all.iter().find(|(a, _)| a == access)) {
            return found.1;
        }
        let group = self.group;
        let member = &group.members[&node];
        let operands: Vec<Source> =
            (0..member.inputs.len()).map(|i| self.input(member.inputs[i].node, &member.view(i), access)).collect();
        let value = match member.role {
            Role::Unary(kind) => self.push(Instruction::Unary(kind, operands[0])),
            Role::Binary(kind) => self.push(Instruction::Binary(kind, operands[0], operands[1])),
            _ => operands[0],
        };
        self.done.entry(node).or_default().push((access.clone(), value));
        value
    }

    fn push(&mut self, instruction: Instruction) -> Source {
        self.instructions.push(instruction);
        Source::Instruction(self.instructions.len() - 1)
    }

    fn input(&mut self, node: NodeIndex, view: &View, access: &Access) -> Source {
        let access = access.through(view);
        let whole = access.axes.iter().enumerate().all(|(i, &(_, valid))| valid == (0, self.domain[i]));
        if let (Role::Constant(value), true) = (role(self.graph, node), whole) {
            return Source::Constant(value);
        }
        let member = self.group.members.get(&node);
        if let Some((member, map)) = member.and_then(|m| Some((m, aligned(&view.physical, &m.domain)?))) {
            return self.member(node, &access.renamed(&map, member.domain.len()));
        }
        let input = self.sources.iter().position(|&s| s == node).unwrap_or_else(|| {
            self.sources.push(node);
            self.sources.len() - 1
        });
        let load = (input, access.load(&view.physical));
        Source::Load(self.loads.iter().position(|l| *l == load).unwrap_or_else(|| {
            self.loads.push(load);
            self.loads.len() - 1
        }))
    }
}

fn fuse(graph: &mut Graph, root: NodeIndex) {
    let group = Group::grow(graph, root);
    let member = &group.members[&root];
    let reduction = match member.role {
        Role::Reduction(kind, axis) => Some((kind, axis)),
        _ => None,
    };
    let domain = member.domain.clone();
    let mut writer = Writer {
        graph,
        group: &group,
        domain: &domain,
        sources: vec![],
        loads: vec![],
        instructions: vec![],
        done: HashMap::new(),
    };
    let result = writer.member(root, &Access::identity(&domain));
    let Writer { sources, loads, instructions, .. } = writer;
    let kernel = Kernel::new(&domain, loads, &instructions, result, reduction);
    rewire(graph, root, &sources);
    *graph.graph.node_weight_mut(root).expect("the root is in the graph") = Box::new(kernel);
    for &node in group.members.keys().filter(|&&node| node != root) {
        graph.graph.remove_node(node);
    }
}
