//! The part of Baseten's GraphQL interface that truss uses.
//!
//! [`root_fields`] lists what is served and the access that each row needs, in the same forms as for routes. A document
//! is read before its transaction ([`document`]) and carried out in the transaction ([`execution`]).

pub mod context;
pub mod document;
pub mod endpoint;
pub mod execution;
pub mod root_fields;

mod chains;
mod checkpoints;
mod instance_types;
mod models;
mod organizations;
mod pushes;
mod teams;
mod uploads;
mod users;
mod watch;
