//! The laws of each port, run against every adapter.
//!
//! A law is a function that takes an adapter; `adapters` lists the adapters.

mod adapters;
mod ledger;
mod queue;
