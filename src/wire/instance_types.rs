//! Instance types on the wire.
