//! Training projects on the wire.
