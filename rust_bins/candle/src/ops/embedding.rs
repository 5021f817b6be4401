//! Rows of a table by id.

use candle_core::{Error, Result, Tensor};

/// Rows `[B, T, d]` of `table` `[V, d]` by ids `[B, T]`; the row `padding` gets no gradient, as in
/// `torch.nn.Embedding`.
pub fn embedding(table: &Tensor, ids: &Tensor, padding: Option<usize>) -> Result<Tensor> {
    let (b, t) = ids.dims2()?;
    let rows = table.index_select(&ids.flatten_all()?, 0)?.reshape((b, t, ()))?;
    match padding {
        Some(padding) if rows.track_op() => {
            let padding = u32::try_from(padding).map_err(Error::wrap)?;
            let padded = ids.eq(padding)?.unsqueeze(2)?.broadcast_as(rows.shape())?;
            padded.where_cond(&rows.detach(), &rows)
        }
        _ => Ok(rows),
    }
}
