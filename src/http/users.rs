//! People over HTTP.
