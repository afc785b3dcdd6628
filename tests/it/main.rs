//! The tests of the house, one file a question.

mod cli;
mod crash;
mod fixtures;
mod freshness;
mod house;
mod openapi;
mod people;
mod process;
mod uploads;
