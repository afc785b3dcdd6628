//! API keys on the wire.
