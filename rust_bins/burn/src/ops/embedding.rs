//! Rows of a table by id.

use burn::tensor::module;
use burn::tensor::{Int, Tensor};

/// Rows `[B, T, d]` of `table` `[V, d]` by ids `[B, T]`; the row `padding` gets no gradient, as in
/// `torch.nn.Embedding`.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>, padding: Option<usize>) -> Tensor<3> {
    let tracked = table.device().is_autodiff();
    let rows = module::embedding(table, ids.clone());
    match padding {
        Some(padding) if tracked => {
            let padded = ids.equal_elem(padding as u64).unsqueeze_dim::<3>(2).expand(rows.dims());
            rows.clone().mask_where(padded, rows.detach())
        }
        _ => rows,
    }
}
