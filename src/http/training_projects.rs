//! Training projects over HTTP.
