//! Guildhall gives an organization teams: two levels of roles, team-scoped resources, one binary, one SQLite file.
//!
//! Read [`policy`], then [`http::routes`], then [`http::answer`]: that is who may do what, where it is asked, and the one
//! way through.
//!
//! ```text
//! 5  lib, main              the crate; parse, run, exit code
//! 4  cli                    commands
//! 3  http, wire, graphql    the path of a request, its table, its door; JSON shapes; what truss speaks
//!    uploads                archives in, by the part of S3 that the clients use
//! 2  db                     one noun a file: verbs with their rules, SQL below
//! 1  policy, token, seal    the tables and proofs; keys and links; secrets at rest
//! 0  model, error, pool     checked values; every failure; threads for what a tenant makes large
//! ```
//!
//! Imports go down or stay on their floor. All SQL is in `db`, all JSON shapes are in `wire`, all status codes in `error`
//! and `http`; only the door (`http::server`) knows that the server is asynchronous.

pub mod cli;
pub mod db;
pub mod error;
pub mod graphql;
pub mod http;
pub mod model;
pub mod policy;
pub mod pool;
pub mod runner;
pub mod seal;
pub mod token;
pub mod uploads;
pub mod wire;

mod table;
