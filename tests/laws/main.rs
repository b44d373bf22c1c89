//! The laws of each port, run against every adapter.
//!
//! A law is a function that takes an adapter. The file of a port lists its laws, `adapters` has a table of adapters per port, and
//! each pair is a test of its own: `queue::sqlite::sent_means_durable`. [`suite`] puts them together.

mod adapters;
mod directory;
mod dump;
mod dynamodb;
mod heads;
mod ledger;
mod limits;
mod live_ids;
mod load;
mod log;
mod memberships;
mod messages;
mod owned_directory;
mod queue;
mod random;
mod sql_directory;
mod state;
mod suite;
