//! Permissions over HTTP.
