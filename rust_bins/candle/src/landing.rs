//! Where results of a device arrive in the host's memory.
//!
//! `Tensor::to_device` copies from a CUDA device into memory that was just asked for: by way of a buffer of the driver,
//! waiting for each tensor, and with a fault for every page. Here results of one execution are copied to page-locked
//! memory, which is kept, all of them before the first is waited for (`docs/framework-notes/candle.md`).

use arena_runner::{Boundary, Output};
#[cfg(feature = "cuda")]
use candle_core::{Device, Error, Storage, cuda_backend::cudarc::driver::PinnedHostSlice};
use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::network::internal;
use crate::program::{settle, values};

/// The memory of one program.
#[derive(Default)]
pub struct Landing {
    #[cfg(feature = "cuda")]
    kept: std::collections::BTreeMap<String, PinnedHostSlice<f32>>,
    /// Whether the results of the latest execution are in it.
    #[cfg(feature = "cuda")]
    landed: bool,
}

#[cfg_attr(not(feature = "cuda"), allow(clippy::unused_self))] // without a device there is no memory to keep
impl Landing {
    /// Brings results to where the boundary wants them: on a CUDA device into this memory, elsewhere into the tensors.
    ///
    /// # Errors
    /// Candle's, or the driver's.
    pub fn land<'a>(
        &mut self,
        results: impl Iterator<Item = (&'a str, &'a mut Tensor)>,
        boundary: Boundary,
    ) -> Result<()> {
        let mut results = results.peekable();
        #[cfg(feature = "cuda")]
        {
            self.landed = false;
            if boundary == Boundary::Host
                && let Some(Device::Cuda(device)) = results.peek().map(|(_, tensor)| tensor.device().clone())
            {
                for (name, tensor) in results {
                    self.copy(name, tensor)?;
                }
                self.landed = true;
                return device.cuda_stream().synchronize().map_err(Error::wrap);
            }
        }
        results.try_for_each(|(_, tensor)| settle(tensor, boundary).map(|settled| *tensor = settled))
    }

    /// A result of the latest execution, read when it is written.
    pub fn output<'a>(&'a self, prefix: &str, name: &'a str, tensor: &'a Tensor) -> Output<'a> {
        Output::lazy(format!("{prefix}{name}"), tensor.dims(), move || {
            #[cfg(feature = "cuda")]
            if self.landed {
                let values = self.kept[name].as_slice().map_err(|error| internal(Error::wrap(error)))?;
                return Ok(values.to_vec());
            }
            values(tensor)
        })
    }

    /// Begins to copy a result.
    #[cfg(feature = "cuda")]
    #[allow(unsafe_code)]
    fn copy(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let dense = tensor.contiguous()?;
        let (storage, layout) = dense.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { candle_core::bail!("{name} is not on the device") };
        let stream = storage.device.cuda_stream();
        let count = layout.shape().elem_count();
        if self.kept.get(name).is_none_or(|kept| kept.len() != count) {
            // Cached, since the host reads it: cudarc's own choice, write-combined memory, is read very slowly.
            // SAFETY: it is uninitialised until the copy below, and only read after the stream was waited for.
            let memory = unsafe { stream.context().alloc_pinned_with_flags::<f32>(count, 0) };
            self.kept.insert(name.to_owned(), memory.map_err(Error::wrap)?);
        }
        let kept = self.kept.get_mut(name).expect("it was just made");
        let from = layout.start_offset();
        let values = storage.as_cuda_slice::<f32>()?.slice(from..from + count);
        stream.memcpy_dtoh(&values, kept).map_err(Error::wrap)
    }
}
