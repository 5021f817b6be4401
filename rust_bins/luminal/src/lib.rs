//! The arena's runner for luminal 0.2.0 on the CPU.
//!
//! A model (`llama`, ..) is written in luminal's graph through [`tensor`]; [`autograd`] adds the backward graph; [`passes`]
//! turn patterns of primitives into the operators of [`ops`]; [`model`] binds, executes and reads.

pub mod autograd;
mod decode;
mod framework;
mod llama;
mod model;
mod nn;
pub mod ops;
mod optimizer;
pub mod passes;
mod program;
mod resnet;
mod scope;
mod smolvla_expert;
pub mod tensor;
mod unet2d_condition;
pub mod view;
mod whisper;

pub use framework::Luminal;
