//! The part of Baseten's GraphQL that truss speaks.
//!
//! [`root_fields`] lists what is served and the access that each row needs, in the forms that routes have too. A document is
//! read before its transaction ([`document`]), and carried out in it ([`execution`]).

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
