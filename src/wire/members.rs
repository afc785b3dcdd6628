//! Members of a team on the wire.
