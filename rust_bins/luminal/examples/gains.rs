//! What each pass gains over luminal's stock execution, on small pieces of a decoder layer.
//!
//! `cargo run --release --example gains`

use std::time::Instant;

use arena_luminal::passes::{FusionCompiler, MatMulCompiler, RemoveUnused};
use arena_luminal::tensor::Tensor;
use luminal::prelude::{CPUCompiler, GenericCompiler, Graph, Tensor as Data};

/// Which passes compile the graph.
#[derive(Debug, Clone, Copy)]
enum Passes {
    None,
    Stock,
    MatMul,
    Fusion,
    Both,
}

/// Milliseconds of the fastest of three executions.
fn milliseconds(passes: Passes, shapes: &[&[usize]], f: fn(&[Tensor]) -> Tensor) -> f64 {
    let mut graph = Box::new(Graph::new());
    let inputs: Vec<Tensor> = shapes.iter().map(|shape| Tensor::input(&mut graph, "x", shape)).collect();
    let mut output = f(&inputs).contiguous().node();
    graph.retrieve_tensors(output);
    match passes {
        Passes::None => {}
        Passes::Stock => graph.compile((GenericCompiler::default(), CPUCompiler::default()), &mut output),
        Passes::MatMul => graph.compile((RemoveUnused, MatMulCompiler), ()),
        Passes::Fusion => graph.compile((RemoveUnused, FusionCompiler), ()),
        Passes::Both => graph.compile((RemoveUnused, MatMulCompiler, FusionCompiler), ()),
    }
    for (tensor, shape) in inputs.iter().zip(shapes) {
        graph.set_tensor(tensor.node(), 0, Data::new(vec![0.5_f32; shape.iter().product()]));
    }
    let once = |_| {
        let start = Instant::now();
        graph.execute();
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        drop(graph.get_tensor(output, 0));
        elapsed
    };
    (0..3).map(once).fold(f64::INFINITY, f64::min)
}

/// A piece of a model: its name, the shapes of its inputs, its graph.
type Piece = (&'static str, &'static [&'static [usize]], fn(&[Tensor]) -> Tensor);

fn main() {
    let pieces: [Piece; 3] = [
        ("linear layer, [32, 128] by [128, 128]", &[&[32, 128], &[128, 128]], |x| x[0].matmul(x[1].transpose())),
        ("silu(gate) * up, [128, 1536]", &[&[128, 1536], &[128, 1536]], |x| x[0].silu() * x[1]),
        ("softmax of [9, 128, 128]", &[&[9, 128, 128]], |x| {
            let e = (x[0] - x[0].max(2).expand(2, 128)).exp();
            e * e.sum(2).recip().expand(2, 128)
        }),
    ];
    for (name, shapes, f) in pieces {
        println!("{name}");
        for passes in [Passes::None, Passes::Stock, Passes::MatMul, Passes::Fusion, Passes::Both] {
            println!("  {passes:?}: {:.3} ms", milliseconds(passes, shapes, f));
        }
    }
}
