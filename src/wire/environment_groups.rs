//! Restricted environments on the wire.
