//! Views, layers and the host's file system.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod control;
mod host;
mod layer;
mod mounting;
mod sequences;
mod support;
