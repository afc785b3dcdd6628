//! People on the wire.
