//! The arena's runner on candle: its own kernels on the CPU, `gemm` and rayon below them; on CUDA its kernels and cuBLAS.

mod decode;
mod device;
mod framework;
mod graft;
mod landing;
mod llama;
mod network;
mod ops;
mod optimizer;
mod program;
mod resnet;
mod smolvla_expert;
mod store;
mod unet2d_condition;
mod whisper;

pub use framework::Candle;
