//! The message path as a user has it: the binary's services as processes, spoken to over HTTP.

mod feed;
mod http;
mod push;
mod served;

pub use feed::{Feed, FeedEvent, What};
pub use http::{Answer, Http};
pub use push::{Pushed, push};
pub use served::{Another, READ_MODEL, READS, Served, WRITES};
