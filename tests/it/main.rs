//! The tests of the house, one file a question.

mod cli;
mod fixtures;
mod house;
mod openapi;
mod people;
