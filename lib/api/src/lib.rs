//! The HTTP front of the message path: `serve-writes` and `serve-reads` as routes.
//!
//! - [`auth`]: who asks, from a bearer token
//! - [`problem`]: every answer that is not a success, from one table
//! - [`writes`], [`reads`]: the routes, over what `jobs::messages` decides
//! - [`server`]: connections, limits, orderly stop
//!
//! Routes and OpenAPI document are built from the same functions, so that they cannot differ. Nothing is decided here but what a
//! request means and how an outcome is told.

pub mod auth;
mod front;
mod openapi;
pub mod problem;
pub mod reads;
mod request;
pub mod server;
pub mod writes;

pub use auth::Keys;
pub use server::{ServerLimits, serve};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
