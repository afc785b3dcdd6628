//! One test for each sentence of the documents and each decision, named after it. All tests use HTTP.

mod api_keys;
mod document;
mod environments;
mod errors;
mod invitations;
mod metrics;
mod people;
mod permissions;
mod secrets;
mod teams;
mod training;
