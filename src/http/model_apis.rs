//! Model APIs over HTTP.
