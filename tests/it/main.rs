//! The tests of the house, one file a question.

mod acme;
mod cli;
mod crash;
mod documents;
mod door;
mod environments;
mod fixtures;
mod freshness;
mod graphql;
mod house;
mod keys;
mod matrix;
mod model;
mod openapi;
mod people;
mod permissions;
mod process;
mod rules;
mod schema;
mod seed;
mod tidy;
mod wire;
