//! The framework's own operations do what `docs/framework-notes/meganeura.md` says: when one of these fails after an
//! update, a composition of ours can go.

use std::sync::Arc;

use meganeura::compile::{ShaderEntry, compile_with};
use meganeura::optimize::optimize_with_config;
use meganeura::{
    CompileOptions, CoopPolicy, Graph, Mode, NodeId, OptimizeConfig, Session, SessionConfig, SessionOptions,
};

fn session(graph: &Graph, mode: Mode) -> Session {
    let gpu = Some(Arc::new(meganeura::init_gpu_context().unwrap()));
    let runtime = SessionOptions { coop: CoopPolicy::Disabled, ..SessionOptions::default() };
    meganeura::build(graph, SessionConfig { mode, gpu, runtime, ..SessionConfig::default() }).0
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7).sin()).collect()
}

#[test]
fn gelu_is_not_differentiated_as_it_is_computed() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", &[1]);
    let y = graph.gelu(x);
    let loss = graph.mean_all(y);
    graph.set_outputs(vec![loss]);
    let mut session = session(&graph, Mode::Training);
    let mut value = |x: f32| {
        session.set_parameter("x", &[x]);
        session.step();
        session.wait();
        let mut slope = [0.0];
        session.read_param_grad("x", &mut slope);
        (f64::from(session.read_loss()), slope[0])
    };
    let (exact, ours) = (0.841_344_746_068_543, value(1.0).0);
    assert!((ours - exact).abs() > 1e-4, "gelu(1) = {ours} is the exact one");
    let slope = ((value(1.01).0 - value(0.99).0) / 0.02) as f32;
    let gradient = value(1.0).1;
    assert!((gradient - slope).abs() > 5e-3, "the gradient {gradient} is the slope {slope}");
}

#[test]
fn the_gradient_of_attention_by_a_reshaped_value_is_lost() {
    let mut graph = Graph::new();
    let [q, k, v] = ["q", "k", "v"].map(|name| graph.parameter(name, &[8, 8]));
    let reshaped = graph.reshape(v, &[4, 16]);
    let [q, k] = [q, k].map(|x| graph.reshape(x, &[4, 16]));
    let mixed = graph.causal_attention(q, k, reshaped, 2, 2, 8);
    let square = graph.mul(mixed, mixed);
    let loss = graph.mean_all(square);
    graph.set_outputs(vec![loss]);
    let mut session = session(&graph, Mode::Training);
    for name in ["q", "k", "v"] {
        session.set_parameter(name, &wave(64));
    }
    session.step();
    session.wait();
    let mut gradient = vec![1.0; 64];
    session.read_param_grad("v", &mut gradient);
    assert!(gradient.iter().all(|&g| g == 0.0), "{gradient:?}");
}

#[test]
fn products_per_channel_are_for_flat_tensors() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[8, 16]);
    let factor = graph.constant(vec![2.0], &[1]);
    let y = graph.mul_per_channel(x, factor, 1, 128);
    graph.set_outputs(vec![y]);
    let mut session = session(&graph, Mode::Inference);
    session.set_input("x", &[1.0; 128]);
    session.step();
    session.wait();
    let mut values = vec![0.0; 128];
    session.read_output_by_index(0, &mut values);
    assert_eq!(values.iter().filter(|&&value| value > 1.5).count(), 8);
}

/// The kernels of a graph with one output as the framework chooses them, and their workgroups.
fn kernels(build: impl FnOnce(&mut Graph) -> NodeId) -> Vec<(ShaderEntry, [u32; 3])> {
    let mut graph = Graph::new();
    let output = build(&mut graph);
    graph.set_outputs(vec![output]);
    let (graph, _) = optimize_with_config(&graph, OptimizeConfig::default());
    let options = CompileOptions { flash_forward_coop: false, ..CompileOptions::default() };
    let plan = compile_with(&graph, &options);
    plan.dispatches.into_iter().map(|dispatch| (dispatch.shader, dispatch.workgroups)).collect()
}

#[test]
fn an_addition_takes_its_kernel_from_a_product_of_one_row() {
    let product = |graph: &mut Graph| {
        let x = graph.input("x", &[1, 64]);
        let w = graph.parameter("w", &[96, 64]);
        graph.matmul_bt(x, w)
    };
    let sum = |graph: &mut Graph| {
        let y = graph.input("y", &[1, 96]);
        let product = product(graph);
        graph.add(product, y)
    };
    assert_eq!(kernels(product), [(ShaderEntry::MatMulGemvBT, [96, 1, 1])]);
    assert_eq!(kernels(sum), [(ShaderEntry::FusedMatMulBTAdd, [2, 1, 1])]);
}

#[test]
fn a_workgroup_of_attention_has_128_queries_where_there_are_as_many() {
    let attention = |rows: usize| {
        kernels(|graph| {
            let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[rows, 9 * 64]));
            graph.causal_attention(q, k, v, 9, 9, 64)
        })
    };
    assert_eq!(attention(127), [(ShaderEntry::MultiHeadAttn, [127, 9, 1])]);
    assert_eq!(attention(128), [(ShaderEntry::FlashAttention, [1, 9, 1])]);
}
