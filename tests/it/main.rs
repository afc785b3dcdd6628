//! The tests of the house, one file a question.

mod audit;
mod billing;
mod health;
mod house;
mod openapi;
mod org;
mod people;
mod resources;
mod unserved;
