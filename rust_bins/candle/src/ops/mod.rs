//! Operations that candle has, with the gradients that it lacks. Forward is candle's own kernel; backward is composed
//! of candle's own operations.

mod activation;
mod attention;
mod channels;
mod conv;
mod embedding;
mod linear;
mod loss;
mod norm;
mod pool;
mod rotary;
#[cfg(test)]
mod tests;
mod window;

pub use activation::{gelu, relu};
pub use attention::{attend, causal_mask, heads};
pub use channels::{add_to_channels, scale_channels};
pub use conv::Conv;
pub use embedding::embedding;
pub use linear::Linear;
pub use loss::{cross_entropy, mean_squared_error};
pub use norm::{GroupNorm, LayerNorm, RmsNorm};
pub use pool::max_pool_3x3;
pub use rotary::Rotary;
