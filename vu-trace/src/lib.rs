//! placeholder

pub mod control_call;
