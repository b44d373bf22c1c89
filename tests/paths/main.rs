//! Each path end to end: the consume loop over a real queue, the lanes over a real log, the handlers of the limit path, the
//! binary.

mod cli;
mod conformance;
mod consumer;
mod follow_limits;
mod follow_limits_plans;
mod follow_limits_replay;
mod group_marker;
mod handlers;
mod lanes;
mod leases;
mod message_path;
mod operate;
mod read_model;
mod reads;
mod writes;
