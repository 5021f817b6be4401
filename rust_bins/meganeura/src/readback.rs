//! Reading outputs back through memory that the host reads fast.
//!
//! The framework keeps outputs and parameters in memory that is the device's own and yet visible to the host. A discrete
//! GPU shows it uncached over its bus, where reads of the host are very slow (`docs/framework-notes/meganeura.md`). Here
//! the device copies them to cached memory of the host first, all of them in one transfer.

use std::sync::Arc;

use blade_graphics::{Buffer, BufferDesc, BufferPiece, CommandEncoder, CommandEncoderDesc, Context, Memory};
use meganeura::Session;

const NAME: &str = "arena_readback";

/// A copy of outputs of one session in the host's memory, which is kept between executions.
pub struct Readback {
    gpu: Arc<Context>,
    encoder: CommandEncoder,
    staging: Option<(Buffer, u64)>,
    /// Where each output that was read begins, and the end of the last, in values.
    bounds: Vec<usize>,
}

impl Readback {
    /// For sessions on this device.
    pub fn new(gpu: &Arc<Context>) -> Self {
        let encoder =
            gpu.create_command_encoder(CommandEncoderDesc { name: NAME, buffer_count: 1, manual_barriers: false });
        Self { gpu: Arc::clone(gpu), encoder, staging: None, bounds: Vec::new() }
    }

    /// Copies outputs of the latest step of `session`, each its index and how many values it has, and waits for them.
    ///
    /// # Panics
    /// When the session has no such output, or the device refuses the memory.
    pub fn read(&mut self, session: &Session, outputs: &[(usize, usize)]) {
        self.bounds.clear();
        self.bounds.push(0);
        let mut end = 0;
        self.bounds.extend(outputs.iter().map(|&(_, values)| {
            end += values;
            end
        }));
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        let staging = self.staging(bytes(end));
        self.encoder.start();
        {
            let mut transfer = self.encoder.transfer(NAME);
            for (&(index, values), &start) in outputs.iter().zip(&self.bounds) {
                let output: BufferPiece = session.output_buffer(index).expect("an output of the graph");
                if values > 0 {
                    transfer.copy_buffer_to_buffer(output, staging.at(bytes(start)), bytes(values));
                }
            }
        }
        let copied = self.gpu.submit(&mut self.encoder);
        if let Err(error) = self.gpu.wait_for(&copied, !0) {
            panic!("{error:?}");
        }
    }

    /// The values of one of the outputs that were read last, by its position among them.
    ///
    /// # Panics
    /// When it was not read.
    pub fn values(&self, position: usize) -> &[f32] {
        let (buffer, _) = self.staging.as_ref().expect("outputs were read");
        &mapped(buffer, self.bounds[position + 1])[self.bounds[position]..]
    }

    /// Cached memory for so many bytes, as it is while it is large enough.
    fn staging(&mut self, bytes: u64) -> Buffer {
        match self.staging {
            Some((buffer, size)) if size >= bytes => buffer,
            _ => {
                self.release();
                let size = bytes.max(4);
                let buffer = self.gpu.create_buffer(BufferDesc { name: NAME, size, memory: Memory::Download });
                self.staging = Some((buffer, size));
                buffer
            }
        }
    }

    fn release(&mut self) {
        if let Some((buffer, _)) = self.staging.take() {
            self.gpu.destroy_buffer(buffer);
        }
    }
}

impl Drop for Readback {
    fn drop(&mut self) {
        self.gpu.destroy_command_encoder(&mut self.encoder);
        self.release();
    }
}

/// The first `values` of a buffer that is mapped.
#[allow(unsafe_code, clippy::cast_ptr_alignment)] // the alignment is asserted
fn mapped(buffer: &Buffer, values: usize) -> &[f32] {
    let data = buffer.data().cast::<f32>().cast_const();
    assert!(!data.is_null() && data.is_aligned(), "download memory is not mapped");
    // SAFETY: the buffer is mapped for as long as it lives, holds at least so many values, and the device is done with
    // it: `read` has waited for the copy, and the next one is only submitted through `&mut Readback`.
    unsafe { std::slice::from_raw_parts(data, values) }
}
