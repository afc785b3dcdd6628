//! The tests of the house, one file a question.

mod cli;
mod crash;
mod documents;
mod door;
mod fixtures;
mod freshness;
mod graphql;
mod house;
mod matrix;
mod model;
mod openapi;
mod people;
mod process;
mod rules;
mod schema;
mod seed;
mod tidy;
mod wire;
