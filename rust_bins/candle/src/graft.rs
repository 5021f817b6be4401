//! Gradients for what candle computes without one.
//!
//! Candle's fused kernels (`softmax_last_dim`, `rms_norm`, `rope`, …) are outside its graph: no gradient flows through
//! them. Here such a value, computed by candle, is put into the graph with a backward pass that is composed of candle's
//! own operations. Nothing is computed by this module itself.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Storage, Tensor};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, backend::BackendStorage};

/// A value that was computed outside the graph, and how gradients go back from it.
struct Graft<B> {
    name: &'static str,
    value: Mutex<Option<Tensor>>,
    backward: B,
}

impl<B> Graft<B> {
    fn new(name: &'static str, value: Tensor, backward: B) -> Self {
        Self { name, value: Mutex::new(Some(value)), backward }
    }

    /// The value, for the one time that candle asks for it.
    fn value(&self) -> Result<Tensor> {
        let value = self.value.lock().ok().and_then(|mut value| value.take());
        value.ok_or_else(|| Error::Msg(format!("{}: computed twice", self.name)))?.contiguous()
    }

    fn take(&self) -> Result<(CpuStorage, Shape)> {
        let value = self.value()?;
        let (storage, layout) = value.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Err(Error::Msg(format!("{}: not on the CPU", self.name)));
        };
        let start = layout.start_offset();
        let values = storage.as_slice::<f32>()?[start..start + layout.shape().elem_count()].to_vec();
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn take_cuda(&self) -> Result<(CudaStorage, Shape)> {
        let mut value = self.value()?;
        let whole = {
            let (storage, layout) = value.storage_and_layout();
            match &*storage {
                Storage::Cuda(storage) => storage.as_cuda_slice::<f32>()?.len() == layout.shape().elem_count(),
                _ => return Err(Error::Msg(format!("{}: not on the CUDA device", self.name))),
            }
        };
        if !whole {
            // A part of a larger storage, which candle would clone as a whole.
            value = value.force_contiguous()?;
        }
        let (storage, layout) = value.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => Err(Error::Msg(format!("{}: not on the CUDA device", self.name))),
        }
    }
}

impl<B: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync> CustomOp1 for Graft<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&result.detach(), gradient).map(Some)
    }
}

impl<B: Fn(&Tensor, &Tensor) -> Result<[Option<Tensor>; 2]> + Send + Sync> CustomOp2 for Graft<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, result: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        (self.backward)(&result.detach(), g).map(Into::into)
    }
}

impl<B: Fn(&Tensor, &Tensor) -> Result<[Option<Tensor>; 3]> + Send + Sync> CustomOp3 for Graft<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.take()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        (self.backward)(&result.detach(), gradient).map(Into::into)
    }
}

/// `value` as a function of `x`; `backward` makes the gradient of `x` of the value and of its gradient.
///
/// # Errors
/// Candle's.
pub fn graft1(
    name: &'static str,
    x: &Tensor,
    value: Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if x.track_op() { x.apply_op1(Graft::new(name, value, backward)) } else { Ok(value) }
}

/// `value` as a function of two tensors; a gradient that nobody needs may be `None`.
///
/// # Errors
/// Candle's.
pub fn graft2(
    name: &'static str,
    (x, y): (&Tensor, &Tensor),
    value: Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<[Option<Tensor>; 2]> + Send + Sync + 'static,
) -> Result<Tensor> {
    let tracked = x.track_op() || y.track_op();
    if tracked { x.apply_op2(y, Graft::new(name, value, backward)) } else { Ok(value) }
}

/// `value` as a function of three tensors; a gradient that nobody needs may be `None`.
///
/// # Errors
/// Candle's.
pub fn graft3(
    name: &'static str,
    (x, y, z): (&Tensor, &Tensor, &Tensor),
    value: Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<[Option<Tensor>; 3]> + Send + Sync + 'static,
) -> Result<Tensor> {
    let tracked = x.track_op() || y.track_op() || z.track_op();
    if tracked { x.apply_op3(y, z, Graft::new(name, value, backward)) } else { Ok(value) }
}
