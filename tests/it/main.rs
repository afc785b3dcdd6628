//! The tests of the house, one file a question.

mod cli;
mod documents;
mod fixtures;
mod house;
mod matrix;
mod model;
mod openapi;
mod people;
mod rules;
mod schema;
mod seed;
mod tidy;
mod wire;
