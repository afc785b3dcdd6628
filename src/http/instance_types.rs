//! Instance types over HTTP.
