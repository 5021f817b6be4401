//! Every rule of reverse mode against central finite differences, through luminal's own operators (no pass has run) and
//! through the compiled kernels.

use arena_luminal::autograd::gradients;
use arena_luminal::ops::{Gather, Ids, MaxPool, Unfold, Window};
use arena_luminal::passes::Passes;
use arena_luminal::tensor::Tensor;
use luminal::prelude::{Graph, Tensor as Data};

/// The step of the differences; values are around one, so that f32 leaves them about 1e-3 exact.
const STEP: f32 = 1e-2;
const TOLERANCE: f32 = 1e-2;

/// Values in [0.3, 1.3], all different, in no order.
fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| 0.3 + ((i * 37 + seed * 11 + 5) % 101) as f32 / 101.0).collect()
}

/// Executes the sum of `f(inputs) * weights` and, with it, the gradients of the inputs.
fn run(
    shapes: &[&[usize]],
    inputs: &[Vec<f32>],
    compiled: bool,
    f: &dyn Fn(&[Tensor]) -> Tensor,
) -> (f32, Vec<Vec<f32>>) {
    let mut graph = Box::new(Graph::new());
    let tensors: Vec<Tensor> = shapes.iter().map(|shape| Tensor::input(&mut graph, "x", shape)).collect();
    let y = f(&tensors);
    let count = y.shape().iter().product();
    let weights = Tensor::input(&mut graph, "weights", &[count]);
    let loss = (y.reshape(&[count]) * weights).sum(0);
    let wrt = gradients(&mut graph, loss, &tensors);
    let found: Vec<Tensor> = wrt.into_iter().map(|g| g.expect("the loss depends on it").contiguous()).collect();
    let kept: Vec<_> = found.iter().map(|g| g.node()).chain([loss.node()]).collect();
    graph.retrieve_tensors(kept);
    if compiled {
        graph.compile(Passes::default(), ());
    }
    for (tensor, input) in tensors.iter().zip(inputs) {
        graph.set_tensor(tensor.node(), 0, Data::new(input.clone()));
    }
    graph.set_tensor(weights.node(), 0, Data::new(values(count, 9)));
    graph.execute();
    let read = |t: &Tensor| graph.get_tensor_ref(t.node(), 0).map(|d| arena_luminal::ops::data(d).to_vec()).unwrap();
    (read(&loss)[0], found.iter().map(read).collect())
}

/// Checks every element of every input's gradient.
fn check(name: &str, shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Tensor) {
    let inputs: Vec<Vec<f32>> = shapes.iter().enumerate().map(|(i, shape)| values(shape.iter().product(), i)).collect();
    for compiled in [false, true] {
        let (_, found) = run(shapes, &inputs, compiled, &f);
        for (i, gradient) in found.iter().enumerate() {
            for (j, &g) in gradient.iter().enumerate() {
                let at = |step: f32| {
                    let mut moved = inputs.clone();
                    moved[i][j] += step;
                    run(shapes, &moved, true, &f).0
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                assert!(
                    (g - expected).abs() <= TOLERANCE * (1.0 + expected.abs()),
                    "{name}, compiled {compiled}: gradient {i}[{j}] is {g}, differences say {expected}"
                );
            }
        }
    }
}

#[test]
fn unary_rules() {
    check("log2", &[&[5]], |x| x[0].log2());
    check("exp2", &[&[5]], |x| x[0].exp2());
    check("sin", &[&[5]], |x| x[0].sin());
    check("recip", &[&[5]], |x| x[0].recip());
    check("sqrt", &[&[5]], |x| x[0].sqrt());
    check("erf", &[&[5]], |x| x[0].erf());
}

#[test]
fn binary_rules() {
    check("add", &[&[2, 3], &[3]], |x| x[0] + x[1]);
    check("mul", &[&[2, 3], &[2, 1]], |x| x[0] * x[1]);
    // No element is near a multiple of the divisor, where the remainder jumps.
    check("mod", &[&[2], &[2]], |x| (x[0] + 4.0).modulo(x[1] * 0.1 + 2.5));
    check("less than", &[&[3], &[3]], |x| x[0].less_than(x[1]) * x[0] + x[1]);
}

#[test]
fn reduction_rules() {
    check("sum", &[&[2, 3, 2]], |x| x[0].sum(1) * x[0].sum(1));
    check("max", &[&[3, 4]], |x| x[0].max(1));
    check("max of the first axis", &[&[3, 4]], |x| x[0].max(0));
}

#[test]
fn view_rules() {
    check("permute", &[&[2, 3, 2]], |x| x[0].permute(&[2, 0, 1]).contiguous());
    check("expand", &[&[3]], |x| x[0].expand(0, 2).contiguous());
    check("slice", &[&[2, 5]], |x| x[0].slice(1, 1..4).contiguous());
    check("pad", &[&[2, 3]], |x| x[0].pad(1, 2, 1).contiguous());
    check("concat", &[&[2, 3], &[2, 2]], |x| x[0].concat(x[1], 1));
    check("transposed exp2", &[&[2, 3]], |x| x[0].transpose().exp2().contiguous());
    check("reshape of a slice", &[&[4, 3]], |x| {
        x[0].slice(0, 1..3).reshape(&[3, 2]) * x[0].slice(0, 0..2).reshape(&[3, 2])
    });
}

#[test]
fn products() {
    check("matrix", &[&[2, 3], &[3, 4]], |x| x[0].matmul(x[1]));
    check("linear", &[&[2, 3], &[4, 3]], |x| x[0].matmul(x[1].transpose()));
    check("batched, one side repeated", &[&[2, 2, 3, 2], &[2, 1, 2, 3]], |x| x[0].matmul(x[1]));
    check("matrix times images", &[&[2, 3], &[2, 3, 4]], |x| x[0].matmul(x[1]));
    check("vector", &[&[1, 3], &[3, 1]], |x| x[0].matmul(x[1]));
}

#[test]
fn gather_adds_rows_in() {
    check("gather", &[&[4, 3]], |x| {
        let table = x[0];
        let ids = table.with_graph(|graph| {
            let ids = Tensor::input(graph, "ids", &[5]);
            graph.set_tensor(ids.node(), 0, Data::new(Ids(vec![1, 3, 1, 0, 1])));
            ids
        });
        Tensor::apply(Gather { rows: 4, width: 3, padding: None }, &[table, ids], &[5, 3])
    });
}

#[test]
fn windows() {
    let window = Window { image: [4, 5], kernel: [3, 2], stride: [2, 1], padding: [1, 1] };
    let [rows, columns] = window.positions();
    check("unfold", &[&[1, 2, 4, 5]], |x| Tensor::apply(Unfold(window), &[x[0]], &[1, 12, rows * columns]));
    let pool = Window { image: [4, 4], kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let [rows, columns] = pool.positions();
    check("max-pool", &[&[1, 2, 4, 4]], |x| Tensor::apply(MaxPool(pool), &[x[0]], &[1, 2, rows, columns]));
}
