//! Work spread over a whole device: which of the framework's own kernels a plan uses where there is little to do.
//!
//! The framework chooses kernels for devices of about twenty processors. On one of 132, a product of 128 rows keeps
//! 18 of them busy, and an addition that is fused into a product leaves it with no other kernel at all
//! (`docs/framework-notes/meganeura.md` has what each choice cost). A plan is data until a session is made of it, so
//! the other kernel of the same operation is put in there. No result changes but in its last bits.

use meganeura::compile::{BufferRef, Dispatch, ExecutionPlan, ShaderEntry};

/// Products of fewer tiles of 64 by 64 than this are computed in tiles of 32 by 32: two for each processor of an H100.
const FEWEST_TILES: u32 = 264;
/// The same for convolutions.
const FEWEST_CONVOLUTION_TILES: u32 = 132;
const LARGE_TILE: u32 = 64;
const SMALL_TILE: u32 = 32;
/// Up to so many queries of all heads, each is a workgroup of its own: on an H200 that is faster with 4608 of them, and
/// slower with 18432 over 512 keys.
const MOST_QUERIES: u32 = 8192;
/// Threads of a workgroup of the element-wise kernels.
const ELEMENTWISE: u32 = 256;

/// Chooses the kernels of a plan that no session was made of yet.
pub fn spread(plan: &mut ExecutionPlan) {
    // From the last one on: an addition that is taken out of a product follows it.
    for index in (0..plan.dispatches.len()).rev() {
        let dispatch = &mut plan.dispatches[index];
        if is_fused(dispatch) {
            continue;
        }
        match dispatch.shader {
            ShaderEntry::FlashAttention => spread_attention(dispatch),
            ShaderEntry::Conv2dGemm | ShaderEntry::Conv2dGradInputGemm => spread_convolution(dispatch),
            _ => spread_product(plan, index),
        }
    }
}

/// Whether other operations, or other products, are part of the kernel.
fn is_fused(dispatch: &Dispatch) -> bool {
    dispatch.use_coop
        || dispatch.horizontal_batch > 1
        || dispatch.matmul_epilogue.is_some()
        || dispatch.matmul_prologue.is_some()
        || !dispatch.epilogue.is_empty()
        || dispatch.pointwise.is_some()
        || dispatch.reduction.is_some()
        || dispatch.gemv_rmsnorm.is_some()
}

/// A workgroup for every query instead of one for 128, which takes a third of the time where that leaves processors idle.
fn spread_attention(dispatch: &mut Dispatch) {
    let (queries, heads) = (dispatch.params[0], dispatch.workgroups[1]);
    if queries * heads <= MOST_QUERIES {
        dispatch.shader = ShaderEntry::MultiHeadAttn;
        dispatch.workgroups[0] = queries;
    }
}

fn spread_convolution(dispatch: &mut Dispatch) {
    let &[_, in_channels, in_h, in_w, out_channels, _, _, _, _, out_h, out_w, _] = dispatch.params.as_slice() else {
        return;
    };
    if dispatch.workgroups.iter().product::<u32>() >= FEWEST_CONVOLUTION_TILES {
        return;
    }
    let (rows, columns);
    (dispatch.shader, rows, columns) = match dispatch.shader {
        ShaderEntry::Conv2dGemm => (ShaderEntry::Conv2dGemmSmall, out_channels, out_h * out_w),
        _ => (ShaderEntry::Conv2dGradInputGemmSmall, in_channels, in_h * in_w),
    };
    dispatch.workgroups[..2].copy_from_slice(&tiles(rows, columns, SMALL_TILE)[..2]);
}

/// A product of `rows` by `columns`, from its dispatch.
struct Product {
    rows: u32,
    columns: u32,
    /// Values that are summed for each.
    depth: u32,
}

impl Product {
    fn of(dispatch: &Dispatch) -> Option<Self> {
        let &[rows, second, third, _] = dispatch.params.as_slice() else { return None };
        let (columns, depth) = match dispatch.shader {
            ShaderEntry::MatMul | ShaderEntry::FusedMatMulAdd => (third, second),
            ShaderEntry::MatMulAT
            | ShaderEntry::MatMulBT
            | ShaderEntry::FusedMatMulATAdd
            | ShaderEntry::FusedMatMulBTAdd => (second, third),
            _ => return None,
        };
        let plain = dispatch.workgroups == tiles(rows, columns, LARGE_TILE) && dispatch.extra_outputs.is_empty();
        plain.then_some(Self { rows, columns, depth })
    }
}

/// The workgroups of a product in square tiles.
fn tiles(rows: u32, columns: u32, side: u32) -> [u32; 3] {
    [columns.div_ceil(side), rows.div_ceil(side), 1]
}

fn spread_product(plan: &mut ExecutionPlan, index: usize) {
    let dispatch = &plan.dispatches[index];
    let Some(product) = Product::of(dispatch) else { return };
    if dispatch.workgroups.iter().product::<u32>() >= FEWEST_TILES {
        return;
    }
    // With an addition in it, a product by a transposed matrix has neither small tiles nor a kernel for one row.
    let alone = match dispatch.shader {
        ShaderEntry::FusedMatMulATAdd => Some(ShaderEntry::MatMulAT),
        ShaderEntry::FusedMatMulBTAdd => Some(ShaderEntry::MatMulBT),
        _ => None,
    };
    if let Some(alone) = alone {
        take_addition_out(plan, index, &product);
        plan.dispatches[index].shader = alone;
    }
    let dispatch = &mut plan.dispatches[index];
    if product.rows == 1 && product.depth.is_multiple_of(4) && dispatch.shader == ShaderEntry::MatMulBT {
        dispatch.shader = ShaderEntry::MatMulGemvBT;
        dispatch.workgroups = [product.columns, 1, 1];
    } else {
        dispatch.use_small_tiles = true;
        dispatch.workgroups = tiles(product.rows, product.columns, SMALL_TILE);
        // Products of the same matrix are packed into one kernel, which has large tiles only, where their parameters are
        // equal. This one is not used: the kernels are given three.
        dispatch.params[3] = u32::try_from(index).expect("fewer dispatches than a 32-bit number counts");
    }
}

/// Makes the addition in a product a dispatch of its own.
fn take_addition_out(plan: &mut ExecutionPlan, index: usize, product: &Product) {
    let values = product.rows * product.columns;
    let sum = BufferRef(u32::try_from(plan.buffers.len()).expect("fewer buffers than a 32-bit number counts"));
    plan.buffers.push(values as usize * size_of::<f32>());
    let dispatch = &mut plan.dispatches[index];
    let addend = dispatch.input_buffers.pop().expect("the third operand of a fused product");
    let addition = Dispatch {
        shader: ShaderEntry::Add,
        workgroups: [values.div_ceil(ELEMENTWISE), 1, 1],
        input_buffers: vec![sum, addend],
        output_buffer: std::mem::replace(&mut dispatch.output_buffer, sum),
        params: vec![values, 0, 0, 0],
        requires_full_precision: dispatch.requires_full_precision,
        label: format!("{} addition", dispatch.label),
        origin: dispatch.origin.clone(),
        ..Dispatch::default()
    };
    plan.dispatches.insert(index + 1, addition);
}

#[cfg(test)]
mod tests {
    use meganeura::{CompileOptions, Graph, NodeId};

    use super::*;

    /// The kernels of a graph with one output, and their workgroups.
    fn spread_out(build: impl FnOnce(&mut Graph) -> NodeId) -> Vec<(ShaderEntry, [u32; 3], bool)> {
        let mut graph = Graph::new();
        let output = build(&mut graph);
        graph.set_outputs(vec![output]);
        let options = CompileOptions { flash_forward_coop: false, ..CompileOptions::default() };
        let plan = crate::inference::compile(&graph, &options);
        plan.dispatches.iter().map(|each| (each.shader.clone(), each.workgroups, each.use_small_tiles)).collect()
    }

    /// `x w^T + y`, of so many rows.
    fn linear(graph: &mut Graph, rows: usize, columns: usize) -> NodeId {
        let x = graph.input("x", &[rows, 64]);
        let w = graph.parameter("w", &[columns, 64]);
        let y = graph.input("y", &[rows, columns]);
        let product = graph.matmul_bt(x, w);
        graph.add(product, y)
    }

    #[test]
    fn a_product_of_one_row_has_a_workgroup_for_every_column() {
        let kernels = spread_out(|graph| linear(graph, 1, 96));
        let expected = [(ShaderEntry::MatMulGemvBT, [96, 1, 1], false), (ShaderEntry::Add, [1, 1, 1], false)];
        assert_eq!(kernels, expected);
    }

    #[test]
    fn a_product_of_few_tiles_has_small_ones_and_a_large_one_keeps_its_addition() {
        let kernels = spread_out(|graph| linear(graph, 128, 576));
        let expected = [(ShaderEntry::MatMulBT, [18, 4, 1], true), (ShaderEntry::Add, [288, 1, 1], false)];
        assert_eq!(kernels, expected);
        let kernels = spread_out(|graph| linear(graph, 1024, 2048));
        assert_eq!(kernels, [(ShaderEntry::FusedMatMulBTAdd, [32, 16, 1], false)]);
    }

    #[test]
    fn products_in_small_tiles_are_not_alike() {
        let mut graph = Graph::new();
        let x = graph.input("x", &[128, 64]);
        let [a, b] = ["a", "b"].map(|name| graph.parameter(name, &[576, 64]));
        let [a, b] = [a, b].map(|w| graph.matmul_bt(x, w));
        graph.set_outputs(vec![a, b]);
        let plan = crate::inference::compile(&graph, &CompileOptions::default());
        let [first, second] = plan.dispatches.as_slice() else { panic!("{:?}", plan.dispatches) };
        assert!(first.use_small_tiles && second.use_small_tiles);
        assert_ne!(first.params, second.params);
    }

    #[test]
    fn few_queries_have_a_workgroup_each_and_many_do_not() {
        let attention = |rows: usize, heads: u32| {
            let kernels = spread_out(|graph| {
                let [q, k, v] = ["q", "k", "v"].map(|name| graph.input(name, &[rows, heads as usize * 64]));
                graph.causal_attention(q, k, v, heads, heads, 64)
            });
            let [(shader, workgroups, _)] = kernels.as_slice() else { panic!("{kernels:?}") };
            (shader.clone(), *workgroups)
        };
        assert_eq!(attention(128, 9), (ShaderEntry::MultiHeadAttn, [128, 9, 1]));
        assert_eq!(attention(1024, 9), (ShaderEntry::FlashAttention, [8, 9, 1]));
    }

    #[test]
    fn a_convolution_of_few_tiles_has_small_ones() {
        let convolution = |side: usize| {
            let (channels, size) = (256, side as u32);
            let kernels = spread_out(|graph| {
                let image = graph.input("image", &[channels * side * side]);
                let weight = graph.parameter("weight", &[channels * channels]);
                graph.conv2d_hw(image, weight, 1, 256, size, size, 256, 1, 1, 1, 0, 0)
            });
            let [(shader, workgroups, _)] = kernels.as_slice() else { panic!("{kernels:?}") };
            (shader.clone(), *workgroups)
        };
        assert_eq!(convolution(16), (ShaderEntry::Conv2dGemmSmall, [8, 8, 1]));
        assert_eq!(convolution(64), (ShaderEntry::Conv2dGemm, [64, 4, 1]));
    }
}
