//! The errors of the contract, each with the code that travels in the answer.

use serde::Serialize;

/// A result whose error is an answer of the contract.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in the words of `docs/contract.md`, section "Errors".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The code of the contract.
    pub code: Code,
    /// What failed, on which input, and what to do: lower case, no full stop.
    pub message: String,
}

/// The error codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, a field missing or of the wrong type, an operation out of order.
    InvalidRequest,
    /// An operation that this version does not know.
    UnknownOp,
    /// An architecture, task, backend, precision or configuration that this runner does not have.
    Unsupported,
    /// An unreadable weights file, or a tensor missing, of the wrong shape or type.
    InvalidWeights,
    /// The same for inputs, and ids out of range.
    InvalidInputs,
    /// The backend is built in, but this machine has no such device.
    DeviceUnavailable,
    /// Host or device memory is exhausted.
    OutOfMemory,
    /// Anything else, in the framework's own words.
    Internal,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self { code: Code::$code, message: message.into() }
            })*
        }
    };
}

constructors! {
    /// An `invalid_request`.
    invalid_request => InvalidRequest;
    /// An `unknown_op`.
    unknown_op => UnknownOp;
    /// An `unsupported`; the message says which architecture, task, key or value.
    unsupported => Unsupported;
    /// An `invalid_weights`; the message names the tensor.
    invalid_weights => InvalidWeights;
    /// An `invalid_inputs`; the message names the tensor.
    invalid_inputs => InvalidInputs;
    /// A `device_unavailable`.
    device_unavailable => DeviceUnavailable;
    /// An `out_of_memory`.
    out_of_memory => OutOfMemory;
    /// An `internal`: the framework's own words.
    internal => Internal;
}
