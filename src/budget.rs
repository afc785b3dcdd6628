//! What clients may hold of the server: connections, and bytes of memory. When there is no room, whoever keeps the server
//! waiting gives way.

pub mod connections;
pub mod memory;
