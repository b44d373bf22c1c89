//! What an operator runs by hand.

pub mod doctor;
pub mod explain;
pub mod organizations;
pub mod rerun;
