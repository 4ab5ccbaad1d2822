//! Views, layers and the host's file system.

mod control;
mod host;
mod layer;
mod mounting;
mod sequences;
mod support;
