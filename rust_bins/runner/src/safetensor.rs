//! Safetensors files, mapped: the header is checked when the file is opened, a tensor's bytes when they are read.

use std::fs::{File, Metadata};
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::{Metadata as Header, TensorInfo};
use safetensors::{Dtype, SafeTensors};

/// Bytes before the header: its length as `u64`.
const LENGTH_BYTES: usize = 8;

/// A mapped file whose header names every byte of it.
pub struct TensorFile {
    map: Mmap,
    data_start: usize,
    header: Header,
}

/// A tensor in a file: type, dimensions, little-endian bytes.
pub struct RawTensor<'a> {
    pub info: &'a TensorInfo,
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Maps `path`; the error says what is wrong with it, without its name.
    pub fn open(path: &Path) -> std::result::Result<Self, String> {
        let regular = |metadata: std::io::Result<Metadata>| match metadata {
            Ok(metadata) if metadata.is_file() => Ok(()),
            Ok(_) => Err("not a regular file".to_owned()),
            Err(e) => Err(e.to_string()),
        };
        // Asked before it is opened, too: opening a named pipe waits for somebody who writes to it.
        regular(std::fs::metadata(path))?;
        let file = File::open(path).map_err(|e| e.to_string())?;
        regular(file.metadata())?;
        // SAFETY: the mapping is private to this process and read-only. The contract leaves the file alone while a
        // request that names it is being answered, and no tensor is read from it afterwards.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| e.to_string())?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(|e| e.to_string())?;
        Ok(Self { map, data_start: LENGTH_BYTES + length, header })
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<RawTensor<'_>> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        Some(RawTensor { info, bytes: &self.map[self.data_start + start..self.data_start + end] })
    }

    /// Every name, in the order of the data.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }
}

impl RawTensor<'_> {
    /// The values as `f32`: `f16` and `bf16` are widened, exactly. `None` for every other type.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.info.dtype {
            Dtype::F32 => Some(self.each(f32::from_le_bytes)),
            Dtype::F16 => Some(self.each(|b| half::f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Some(self.each(|b| half::bf16::from_le_bytes(b).to_f32())),
            _ => None,
        }
    }

    /// The values, if they are `i64`.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        (self.info.dtype == Dtype::I64).then(|| self.each(i64::from_le_bytes))
    }

    /// The values, if they are `f64`.
    #[cfg(feature = "golden")]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        (self.info.dtype == Dtype::F64).then(|| self.each(f64::from_le_bytes))
    }

    fn each<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (values, _) = self.bytes.as_chunks::<N>();
        values.iter().map(|bytes| read(*bytes)).collect()
    }
}
