//! Can one tenant hurt another? A hostile organization acts beside a neighbour on one server.
//!
//! The server is a process of its own with little memory, so that what makes it grow aborts it. The neighbour's reads and
//! writes are timed before, while and after the hostile one acts: their median stays within ten times the quiet one, the
//! process lives, recovers within ten seconds and starts again.
//!
//! - `archives`: what is pushed, and the worker that builds it
//! - `documents`: what is sent to GraphQL, to every root field
//! - `bodies`: what is sent to every route, in its body, its query and its head
//! - `growth`: what a tenant makes the database and the disk hold, and a disk that is full
//! - `reads`: what is asked for, and answers that nobody collects
//! - `connections`: what is only begun or reserved
//! - `uploads`: the same for every operation of the S3 part

mod archives;
mod bodies;
mod connections;
mod documents;
mod growth;
mod neighbour;
mod peer;
mod reads;
mod site;
mod uploads;
