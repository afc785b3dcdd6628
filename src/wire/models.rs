//! Models on the wire.
