//! Chains over HTTP.
