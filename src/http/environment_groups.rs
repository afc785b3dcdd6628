//! Restricted environments over HTTP.
