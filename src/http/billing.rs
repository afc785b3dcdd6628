//! Billing over HTTP.
