//! Billing on the wire.
