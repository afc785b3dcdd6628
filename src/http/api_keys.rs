//! API keys over HTTP.
