//! Guildhall gives an organization teams: two levels of roles, team-scoped resources, one binary, one SQLite file.
//!
//! Read [`policy`], then [`api::routes`], then [`api::dispatch`]: that is who may do what, what is served, and the one path
//! that every request takes.
//!
//! ```text
//! 5  lib, main              the crate; parse, run, exit code
//! 4  cli                    commands
//! 3  api, s3, server        routes, dispatch, REST and GraphQL handlers; the part of S3 that clients upload with; listener
//!    wire, runner           JSON shapes; reading of what was uploaded
//! 2  db                     one noun a file: verbs with their rules, SQL below
//! 1  policy, token, seal    permission tables and proofs; keys and links; secrets at rest
//! 0  domain, error, pool    checked values; every failure; threads for what a tenant makes large
//! ```
//!
//! Imports go down or stay on their level. All SQL is in `db`, all JSON shapes are in `wire`, all status codes in `error`
//! and `api`; only `server` and `s3` know that the server is asynchronous.

pub mod api;
pub mod cli;
pub mod db;
pub mod domain;
pub mod error;
pub mod policy;
pub mod pool;
pub mod runner;
pub mod s3;
pub mod seal;
pub mod server;
pub mod token;
pub mod wire;

mod table;
