//! Model APIs on the wire.
