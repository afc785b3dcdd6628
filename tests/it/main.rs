//! The tests of the house, one file a question.

mod documents;
mod house;
mod matrix;
mod rules;
mod schema;
mod seed;
mod tidy;
