//! The tests of the house, one file a question.

mod acme;
mod cli;
mod crash;
mod door;
mod environments;
mod fixtures;
mod freshness;
mod house;
mod keys;
mod openapi;
mod people;
mod permissions;
mod process;
