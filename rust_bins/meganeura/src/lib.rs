//! The arena's runner on [meganeura](https://docs.rs/meganeura) 0.3.0: static graphs compiled to Vulkan dispatches.
//!
//! Tokens are laid out *time-major* everywhere: row `t * batch + b` of a 2-D tensor is position `t` of sample `b`.
//! The framework's attention takes one sequence and no batch; seen time-major, a batch is only more heads of that one
//! sequence, so no sample is ever sliced out.

mod architecture;
mod attention;
mod decode;
mod device;
mod framework;
mod image;
mod inference;
mod layout;
mod llama;
mod net;
mod occupancy;
mod ops;
mod optimizer;
mod products;
mod profile;
mod program;
mod readback;
mod resnet;
mod smolvla_expert;
mod store;
mod training;
mod unet2d_condition;
mod whisper;

pub use framework::Meganeura;
