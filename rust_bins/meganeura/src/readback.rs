//! Reading outputs back through memory that the host reads fast.
//!
//! The framework keeps outputs and parameters in memory that is the device's own and yet visible to the host. A discrete
//! GPU shows it uncached over its bus, where reads of the host are very slow (`docs/framework-notes/meganeura.md`). Here
//! the device copies them to cached memory first.

use std::sync::Arc;

use blade_graphics::{Buffer, BufferDesc, BufferPiece, CommandEncoder, CommandEncoderDesc, Context, Memory};
use meganeura::Session;

const NAME: &str = "arena_readback";

/// A copy from the outputs of one session to the host, and the memory that it goes through, kept between executions.
pub struct Readback {
    gpu: Arc<Context>,
    encoder: CommandEncoder,
    staging: Option<(Buffer, u64)>,
}

impl Readback {
    /// For sessions on this device.
    pub fn new(gpu: &Arc<Context>) -> Self {
        let encoder =
            gpu.create_command_encoder(CommandEncoderDesc { name: NAME, buffer_count: 1, manual_barriers: false });
        Self { gpu: Arc::clone(gpu), encoder, staging: None }
    }

    /// The outputs of the latest step of `session`, each its index and how many values it has: given to `take` one
    /// after the other, with their position in `outputs`. Waits for the step.
    ///
    /// # Panics
    /// When the session has no such output, or the device refuses the memory.
    pub fn read(&mut self, session: &Session, outputs: &[(usize, usize)], mut take: impl FnMut(usize, &[f32])) {
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        let total: u64 = outputs.iter().map(|&(_, values)| bytes(values)).sum();
        let staging = self.staging(total);
        self.encoder.start();
        {
            let mut transfer = self.encoder.transfer(NAME);
            let mut offset = 0;
            for &(index, values) in outputs {
                let output: BufferPiece = session.output_buffer(index).expect("an output of the graph");
                if values > 0 {
                    transfer.copy_buffer_to_buffer(output, staging.at(offset), bytes(values));
                }
                offset += bytes(values);
            }
        }
        let copied = self.gpu.submit(&mut self.encoder);
        if let Err(error) = self.gpu.wait_for(&copied, !0) {
            panic!("{error:?}");
        }
        let mut start = 0;
        for (i, &(_, values)) in outputs.iter().enumerate() {
            take(i, &mapped(&staging, start + values)[start..]);
            start += values;
        }
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
#[allow(unsafe_code)]
fn mapped(buffer: &Buffer, values: usize) -> &[f32] {
    let data = buffer.data().cast::<f32>().cast_const();
    assert!(!data.is_null() && data.is_aligned(), "download memory is not mapped");
    // SAFETY: the buffer is mapped for as long as it lives, holds at least so many values, and the device is done with
    // it: every caller has waited for the copy, and the next one is only submitted through `&mut Readback`.
    unsafe { std::slice::from_raw_parts(data, values) }
}
