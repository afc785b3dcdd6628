//! Limits on what clients may occupy in the server: connections and bytes of memory. If there is no room, the
//! connection that has kept the server waiting longest is closed.

pub mod connections;
pub mod memory;
