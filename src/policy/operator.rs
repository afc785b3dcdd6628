//! The proof that the operator asks.

/// The operator: a person or program with access to the host. It uses the operator's socket, or the data directory
/// while no server runs, but never the network.
#[derive(Debug)]
pub struct Operator(());

impl Operator {
    /// Call it only where the caller is known to be the operator: for connections of the operator's socket, and in
    /// commands that hold the data directory's lock.
    pub(crate) fn of_this_host() -> Operator {
        Operator(())
    }
}
