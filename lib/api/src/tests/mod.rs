//! The fronts over a real socket.

mod bad_input;
mod document;
mod reads;
mod server;
mod writes;
