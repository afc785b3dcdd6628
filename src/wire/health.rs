//! Health on the wire.

use serde::Serialize;

#[derive(Serialize)]
pub struct Health {
    pub status: &'static str,
}
