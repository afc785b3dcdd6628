//! Guildhall gives an organization teams: two levels of roles, team-scoped resources, one binary, one SQLite file.
//!
//! Read [`policy`], then [`api::routes`], then [`api::dispatch`]: that is who may do what, what is served, and the one path
//! that every request takes.
//!
//! ```text
//! 12  main                    parse, run, exit code
//! 11  cli                     commands
//! 10  server                  listener, limits, deadlines
//! 9   s3                      the part of S3 that clients upload with
//! 8   api                     routes, dispatch, REST and GraphQL handlers
//! 7   runner                  reading of what was uploaded
//! 6   db                      one noun a file: verbs with their rules, SQL below
//! 5   wire                    JSON shapes of REST, GraphQL and fixtures
//! 4   policy, seal            permission tables and proofs; secrets at rest
//! 3   domain                  checked values, pure decisions
//! 2   pool                    threads for what a tenant makes large
//! 1   error, token, table     every failure; keys and links; the macro of the tables
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
