//! Members of a team over HTTP.
