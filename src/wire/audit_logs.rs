//! The audit log on the wire.
