//! What an operator runs by hand.

pub mod explain;
pub mod rerun;
pub mod runs;
pub mod status;
