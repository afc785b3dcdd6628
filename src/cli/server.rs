//! Commands that work on a data directory: with its server, by the operator's socket, or without one, under its lock.

pub mod demo;
pub mod echo;
pub mod fixtures;
pub mod init;
pub mod log;
pub mod model_api;
pub mod operator;
pub mod organization;
pub mod process;
pub mod runner;
pub mod running;
pub mod secrets;
pub mod serve;
pub mod user;

mod descriptors;
