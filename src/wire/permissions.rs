//! Permissions on the wire.
