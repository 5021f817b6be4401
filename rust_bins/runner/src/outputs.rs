//! Outputs, streamed to a safetensors file: only one tensor that was not at hand is in memory at a time.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{Error, Result};
use crate::model::{Output, OutputData};

#[cfg(target_endian = "big")]
compile_error!("safetensors are little endian, and tensors are written as they lie in memory");

/// Keeps the outputs of these names.
///
/// # Errors
/// `invalid_request`, naming the first that the program does not have.
pub fn select<'a>(outputs: Vec<Output<'a>>, names: &[String]) -> Result<Vec<Output<'a>>> {
    if let Some(unknown) = names.iter().find(|&name| outputs.iter().all(|output| output.name != *name)) {
        return Err(Error::invalid_request(format!("outputs: the program has no output `{unknown}`")));
    }
    Ok(outputs.into_iter().filter(|output| names.contains(&output.name)).collect())
}

/// Writes the outputs and returns how many there are. A file that could not be finished is removed.
///
/// # Errors
/// `invalid_request` when the file cannot be made, `internal` when a tensor cannot be read or written.
pub fn write(mut outputs: Vec<Output<'_>>, path: &Path) -> Result<usize> {
    // As the format wants it: types by falling alignment, so that every tensor is aligned to its own.
    outputs.sort_by(|a, b| b.dtype().cmp(&a.dtype()).then_with(|| a.name.cmp(&b.name)));
    let header = header(&outputs)?;
    let file = File::create(path)
        .map_err(|e| Error::invalid_request(format!("outputs: cannot create `{}`: {e}", path.display())))?;
    let written = write_all(&outputs, &header, file);
    if written.is_err() {
        // The reason is the error; a file that cannot be removed either adds nothing to it.
        let _ = std::fs::remove_file(path);
    }
    written.map(|()| outputs.len())
}

fn header(outputs: &[Output<'_>]) -> Result<Vec<u8>> {
    let mut end = 0;
    let infos = outputs.iter().map(|output| {
        let start = end;
        end += output.elements() * output.dtype().bitsize() / 8;
        let info = TensorInfo { dtype: output.dtype(), shape: output.shape.clone(), data_offsets: (start, end) };
        (output.name.clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(|e| Error::internal(format!("outputs: {e}")))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|e| Error::internal(format!("outputs: {e}")))?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

fn write_all(outputs: &[Output<'_>], header: &[u8], file: File) -> Result<()> {
    let failed = |e: std::io::Error| Error::internal(format!("outputs: cannot write: {e}"));
    let mut file = BufWriter::new(file);
    file.write_all(header).map_err(failed)?;
    for output in outputs {
        match &output.data {
            OutputData::I64(values) => file.write_all(bytemuck::cast_slice(output.checked(values)?)).map_err(failed)?,
            OutputData::F32(_) | OutputData::LazyF32(_) => {
                let values = output.read_f32()?;
                file.write_all(bytemuck::cast_slice(output.checked(&values)?)).map_err(failed)?;
            }
        }
    }
    file.flush().map_err(failed)
}

impl Output<'_> {
    fn dtype(&self) -> Dtype {
        match self.data {
            OutputData::F32(_) | OutputData::LazyF32(_) => Dtype::F32,
            OutputData::I64(_) => Dtype::I64,
        }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The `f32` values, read from the device when they are not at hand.
    ///
    /// # Errors
    /// `internal` when they cannot be read, or are ids.
    pub fn read_f32(&self) -> Result<Cow<'_, [f32]>> {
        match &self.data {
            OutputData::F32(values) => Ok(Cow::Borrowed(values)),
            OutputData::LazyF32(read) => read().map(Cow::Owned),
            OutputData::I64(_) => Err(Error::internal(format!("output `{}` is i64, not f32", self.name))),
        }
    }

    fn checked<'v, T>(&self, values: &'v [T]) -> Result<&'v [T]> {
        if values.len() == self.elements() {
            Ok(values)
        } else {
            Err(Error::internal(format!(
                "output `{}` has {} values, but shape {:?}",
                self.name,
                values.len(),
                self.shape
            )))
        }
    }
}
