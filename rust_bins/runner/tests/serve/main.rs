//! The protocol loop in process, over a toy framework.

mod any_bytes;
mod protocol;
mod toy;
