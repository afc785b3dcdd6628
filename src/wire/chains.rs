//! Chains on the wire.
