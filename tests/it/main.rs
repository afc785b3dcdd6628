//! The tests of the house, one file a question.

mod house;
mod openapi;
mod uploads;
