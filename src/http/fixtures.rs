//! Fixtures over the operator's socket.
