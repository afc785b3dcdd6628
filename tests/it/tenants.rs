//! Can one tenant harm another? A hostile organization acts beside a neighbor on the same server.
//!
//! The server is its own process with little memory, so that growth aborts it. The neighbor's reads and writes are
//! timed before, during and after the hostile acts. Their median must stay within ten times the quiet median. The
//! process must survive, recover within ten seconds and start again.
//!
//! - `archives`: pushed archives, and the worker that builds them
//! - `documents`: GraphQL documents, for every root field
//! - `bodies`: bodies, queries and heads of requests to every route
//! - `growth`: data that a tenant adds to the database and the disk, and a full disk
//! - `reads`: expensive reads, and replies that nobody reads
//! - `connections`: connections and requests that are only started, and reserved resources
//! - `uploads`: attacks on every operation of the S3 interface

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
