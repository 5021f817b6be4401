//! How a graph is compiled for inference: the framework's own stages, one by one, so that the plan can be changed before
//! a session is made of it (`docs/framework-notes/meganeura.md`).

use meganeura::Graph;
use meganeura::compile::{self, CompileOptions, ExecutionPlan};
use meganeura::optimize::{self, OptimizeConfig};

use crate::occupancy;

/// The plan of a graph as it is.
///
/// These are the stages of `meganeura::build` for inference without cooperative matrices. Then the kernels are chosen for
/// a large device.
pub fn compile(graph: &Graph, options: &CompileOptions) -> ExecutionPlan {
    let config = OptimizeConfig::default();
    let (mut graph, _) = optimize::optimize_with_config(graph, config);
    // The report of what was fused, which nobody reads here.
    let mut fusions = Vec::new();
    optimize::apply_group_norm_silu_fusions(&mut graph, &mut fusions);
    optimize::apply_winograd_conv_fusions(&mut graph, &mut fusions, &config);
    let mut plan = compile::compile_with(&graph, options);
    occupancy::spread(&mut plan);
    plan
}
