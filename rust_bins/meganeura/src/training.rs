//! How a graph is compiled for training: the framework's own stages, one by one, so that the plan can be changed before
//! a session is made of it (`docs/framework-notes/meganeura.md`).

use meganeura::compile::{self, BufferRef, CompileOptions, ExecutionPlan, ShaderEntry};
use meganeura::optimize::{self, OptimizeConfig};
use meganeura::{Graph, autodiff};

use crate::occupancy;

/// Workgroups that keep a large device busy: about four for each of an H100's 132 processors.
const WORKGROUPS: u32 = 512;
/// What the tiled products take of the reduction at once.
const TILE_K: u32 = 16;
/// Fewest tiles of a part: with less, adding the parts up costs more than the waiting that it saves.
const FEWEST_TILES: u32 = 8;
/// Bytes of all parts together, at most.
const PARTIAL_BYTES: usize = 1 << 30;

/// The plan of a graph whose first output is a loss, differentiated by every parameter.
///
/// These are the stages of `meganeura::build` for training without cooperative matrices. Then each gradient of a
/// convolution's weight whose product has few workgroups is computed in parts: the framework sums over all pixels of
/// the batch within one workgroup, which leaves most of a device idle. Last, the kernels of everything else are chosen for
/// a large device.
pub fn compile(graph: &Graph, options: &CompileOptions) -> ExecutionPlan {
    let (forward, _) = optimize::optimize_with_config(graph, OptimizeConfig::default());
    let full = autodiff::differentiate(&forward.toposort());
    drop(forward);
    let (full, _) = optimize::optimize_with_config(&full, OptimizeConfig::default());
    let mut plan = compile::compile_with(&full, options);
    split_weight_gradients(&mut plan);
    occupancy::spread(&mut plan);
    plan
}

/// Makes the gradients of these parameters outputs of the plan, or after a `step` the parameters themselves: outputs are
/// all that a session lends a handle of, without which each is read through memory of its own.
pub fn publish<'a>(plan: &mut ExecutionPlan, names: impl Iterator<Item = &'a str>, step: bool) {
    for name in names {
        let buffer = if step { parameter(plan, name) } else { gradient(plan, name) };
        plan.output_buffers.extend(buffer);
    }
}

/// Where a parameter is.
pub fn parameter(plan: &ExecutionPlan, name: &str) -> Option<BufferRef> {
    plan.param_buffers.iter().find(|(known, _)| known == name).map(|&(_, buffer)| buffer)
}

/// Where the gradient of a parameter is.
pub fn gradient(plan: &ExecutionPlan, name: &str) -> Option<BufferRef> {
    let parameter = parameter(plan, name)?;
    plan.param_grad_pairs.iter().find(|(known, _)| *known == parameter).map(|&(_, buffer)| buffer)
}

fn split_weight_gradients(plan: &mut ExecutionPlan) {
    let mut bytes_left = PARTIAL_BYTES;
    // From the last one on: each that is split makes two of one.
    for index in (0..plan.dispatches.len()).rev() {
        let dispatch = &plan.dispatches[index];
        let is_gradient =
            matches!(dispatch.shader, ShaderEntry::Conv2dGradWeightGemm | ShaderEntry::Conv2dGradWeightGemmSmall);
        // batch, in_channels, in_h, in_w, out_channels, kernel_h, kernel_w, stride, padding_h, out_h, out_w, padding_w
        let &[batch, .., out_h, out_w, _] = dispatch.params.as_slice() else { continue };
        if !is_gradient {
            continue;
        }
        let parts = parts(dispatch.workgroups.iter().product(), batch * out_h * out_w);
        if parts > 1 {
            // It refuses what is fused with something else, or too large: such a gradient stays whole.
            let taken = plan.split_conv_weight_gradients(&[(index, parts)], bytes_left).unwrap_or(0);
            bytes_left -= taken;
        }
    }
}

/// How many parts a sum over `reduction` values is computed in, where one part has so many workgroups.
fn parts(workgroups: u32, reduction: u32) -> u32 {
    let wanted = WORKGROUPS / workgroups.max(1);
    let most = reduction.div_ceil(TILE_K) / FEWEST_TILES;
    wanted.min(most).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_products_over_many_pixels_are_split_and_no_others() {
        assert_eq!(parts(10, 4 * 112 * 112), 51);
        assert_eq!(parts(1, 4 * 7 * 7), 1);
        assert_eq!(parts(300, 1 << 20), 1);
        assert_eq!(parts(1, u32::MAX), 512);
    }

    #[test]
    fn the_gradient_of_a_wide_image_is_computed_in_parts() {
        let mut graph = Graph::new();
        let image = graph.input("image", &[3 * 64 * 64]);
        let weight = graph.parameter("weight", &[8 * 3 * 3 * 3]);
        let convolved = graph.conv2d_hw(image, weight, 1, 3, 64, 64, 8, 3, 3, 1, 1, 1);
        let loss = graph.mean_all(convolved);
        graph.set_outputs(vec![loss]);
        let plan = compile(&graph, &CompileOptions::default());
        let split = |shader: &ShaderEntry| {
            matches!(shader, ShaderEntry::Conv2dGradWeightGemmSplit | ShaderEntry::Conv2dGradWeightGemmSplitSmall)
        };
        let parts: Vec<u32> =
            plan.dispatches.iter().filter(|each| split(&each.shader)).map(|each| each.workgroups[2]).collect();
        assert_eq!(parts, [32]);
        assert_eq!(plan.param_grad_pairs.len(), 1);
    }
}
