//! Invitations on the wire.
