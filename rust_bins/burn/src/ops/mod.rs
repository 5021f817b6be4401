//! What burn lacks, or has in a form that does not fit, composed from its own operations.

mod attention;
mod conv;
mod embedding;
mod gelu;
mod linear;
mod loss;
mod rotary;

pub use attention::{KeyValues, Visible, attention, heads};
pub use conv::conv2d;
pub use embedding::embedding;
pub use gelu::gelu;
pub use linear::{LayerNorm, Linear, group_norm, rms_norm};
pub use loss::{cross_entropy, mean_squared_error};
pub use rotary::Rotary;
