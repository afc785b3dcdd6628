//! Guildhall gives an organization teams: two levels of roles, team-scoped resources, one binary, one SQLite file.
//!
//! Read [`policy`], then [`api::routes`], then [`api::dispatch`]: that is who may do what, what is served, and the one path
//! that every request takes.
//!
//! ```text
//! 13  main                    parse, run, exit code
//! 12  cli                     commands
//! 11  server                  listener, limits, deadlines
//! 10  s3, inference, console  the part of S3 that clients upload with; calls to running models; pages
//! 9   budget                  connections and bytes that clients may hold
//! 8   api                     routes, dispatch, REST and GraphQL handlers
//! 7   runner, jobs            reading and running of what was uploaded; work that no request waits for
//! 6   db                      one noun a file: verbs with their rules, SQL below
//! 5   wire                    JSON shapes of REST, GraphQL and fixtures
//! 4   policy, seal            permission tables and proofs; secrets at rest
//! 3   domain                  checked values, pure decisions
//! 2   pool                    threads for what a tenant makes large
//! 1   error, token, table     every failure; keys and links; the macro of the tables
//! ```
//!
//! A module uses modules of lower levels alone, and at no level do modules use each other in a circle: the `tidy` test reads
//! this map and the source. All SQL is in `db`, all JSON shapes are in `wire`, all status codes in `error` and `api`; only
//! `server`, `budget`, `s3` and `inference` know that the server is asynchronous.

pub mod api;
pub mod budget;
pub mod cli;
pub mod console;
pub mod db;
pub mod domain;
pub mod error;
pub mod inference;
pub mod jobs;
pub mod policy;
pub mod pool;
pub mod runner;
pub mod s3;
pub mod seal;
pub mod server;
pub mod token;
pub mod wire;

mod table;
