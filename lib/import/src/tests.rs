//! Imports of small folders into a store in memory.

mod bad_rows;
mod bodies;
mod files;
mod folder;
mod mapping;
mod runs;
