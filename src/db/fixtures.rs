//! Organizations from fixtures.
