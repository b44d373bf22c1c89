//! The allocator of every process that links this crate. Not in the binary's own crate, which is compiled without optimization.

/// A run makes and drops a few small allocations for each of hundreds of thousands of rooms and tasks, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
