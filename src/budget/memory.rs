//! The memory that requests and replies may hold, in total and per payer.
//!
//! A declared length reserves nothing: bytes count when they arrive. If there is no room, the connection that has
//! kept the server waiting longest gives way. What fits the buffers of a connection is not counted, so usual requests
//! are not affected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::request_log::RequestLog;
use crate::budget::connections::{Connection, Phase};
use crate::domain::network::counted_address;
use crate::error::Error;

/// Bytes that each request may hold without being counted.
pub(crate) const FREE_BYTES: usize = 16 << 10;

/// A party that bytes are charged to. A request has one or two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Payer {
    Organization(String),
    /// A user, or a key that belongs to no person.
    Actor(String),
    /// The address of an unauthenticated client.
    Peer(IpAddr),
}

impl Payer {
    /// This payer's share of all bytes. It is limited so that neither one organization nor one of its keys can take
    /// everything.
    fn share(&self, bytes_max: usize) -> usize {
        match self {
            Payer::Organization(_) => bytes_max / 2,
            Payer::Actor(_) | Payer::Peer(_) => bytes_max / 4,
        }
    }
}

/// The memory account of one listener.
pub(crate) struct Memory {
    bytes_max: usize,
    patience: Duration,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    used: usize,
    payers: HashMap<Payer, usize>,
    holders: HashMap<u64, Holder>,
    next_id: u64,
}

/// A connection that holds bytes.
struct Holder {
    bytes: usize,
    payers: Vec<Payer>,
    connection: Arc<Connection>,
}

/// Bytes that a request or its reply holds. Dropping it returns them.
pub struct Held {
    id: u64,
    bytes: usize,
    payers: Vec<Payer>,
    connection: Arc<Connection>,
    memory: Arc<Memory>,
}

/// The parties that the bytes of one request are charged to.
#[derive(Clone)]
pub struct Account {
    pub(crate) memory: Arc<Memory>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) log: Arc<RequestLog>,
}

impl Account {
    /// Starts with no bytes. They are charged to the sender, as far as it is known by now.
    pub fn hold(&self) -> Held {
        let payers = match (self.log.sender(), self.log.peer()) {
            (Some((org_id, actor)), _) => {
                vec![Payer::Organization(org_id.as_str().to_owned()), Payer::Actor(actor.to_owned())]
            }
            (None, Some(peer)) => vec![Payer::Peer(counted_address(peer))],
            (None, None) => Vec::new(),
        };
        let id = self.memory.accounts().new_id();
        Held { id, bytes: 0, payers, connection: Arc::clone(&self.connection), memory: Arc::clone(&self.memory) }
    }

    /// Whether so much is in use that a payer may have reached its share.
    pub fn is_pressed(&self) -> bool {
        self.memory.accounts().used > self.memory.bytes_max / 4
    }

    /// Checks the caller's share before the request is handled, because a finished reply cannot be refused.
    ///
    /// # Errors
    ///
    /// `Busy` if the share is used up and no connection gives way.
    pub fn check_share(&self) -> Result<(), Error> {
        self.hold().grow_to(0)
    }

    /// Marks the connection as waiting for its body.
    pub fn receives(&self) {
        self.connection.enter(Phase::Body);
    }

    /// Marks the connection as not waiting for its peer.
    pub fn works(&self) {
        self.connection.enter(Phase::Working);
    }

    /// Waits until the connection must give way.
    pub async fn given_way(&self) {
        self.connection.given_way().await;
    }
}

impl Memory {
    pub fn new(bytes_max: usize, patience: Duration) -> Arc<Memory> {
        Arc::new(Memory { bytes_max, patience, accounts: Mutex::default() })
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Grows to this many bytes in total.
    ///
    /// # Errors
    ///
    /// `Busy` if there is no room and no connection gives way.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        let (memory, mut accounts) = (&self.memory, self.memory.accounts());
        while let Some(full) = accounts.full(&self.payers, more, memory.bytes_max) {
            if !accounts.make_way(&full, &self.connection, memory.patience) {
                return Err(Error::Busy { retry_after_seconds: 1 });
            }
        }
        accounts.charge(self, more);
        drop(accounts);
        self.bytes += more;
        Ok(())
    }

    /// Charges bytes that exist already, because a finished reply cannot be refused. Other connections give way if
    /// possible.
    pub fn take(&mut self, bytes: usize) {
        let mut accounts = self.memory.accounts();
        // Unauthenticated clients are not checked before the request is handled.
        let is_unknown = self.payers.iter().any(|payer| matches!(payer, Payer::Peer(_)));
        let patience = if is_unknown { Duration::ZERO } else { self.memory.patience };
        while let Some(full) = accounts.full(&self.payers, bytes, self.memory.bytes_max) {
            if !accounts.make_way(&full, &self.connection, patience) {
                break;
            }
        }
        accounts.charge(self, bytes);
        drop(accounts);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.accounts().give_back(self.id, self.bytes);
        }
    }
}

/// The error of a request whose connection gave way.
pub fn gave_way() -> Error {
    Error::Unavailable("the server needs the room of what arrives so slowly: send it again later")
}

/// The limit that is reached.
enum Full {
    Share(Payer),
    All,
}

impl Accounts {
    fn full(&self, payers: &[Payer], more: usize, bytes_max: usize) -> Option<Full> {
        let used = |payer: &Payer| self.payers.get(payer).copied().unwrap_or_default();
        let full = payers.iter().find(|payer| used(payer) + more > payer.share(bytes_max));
        full.map(|payer| Full::Share(payer.clone())).or_else(|| (self.used + more > bytes_max).then_some(Full::All))
    }

    /// Closes the connection that has waited longest for its peer and returns its bytes at once. False if there is
    /// none.
    fn make_way(&mut self, full: &Full, asking: &Connection, patience: Duration) -> bool {
        let may = |holder: &&Holder| {
            let is_charged = match full {
                Full::Share(payer) => holder.payers.contains(payer),
                Full::All => true,
            };
            let waits = matches!(holder.connection.phase(), Phase::Body | Phase::Reply);
            is_charged && waits && holder.connection.id() != asking.id() && holder.connection.since() >= patience
        };
        let longest = self.holders.values().filter(may).max_by_key(|holder| holder.connection.since());
        let Some(connection) = longest.map(|holder| Arc::clone(&holder.connection)) else { return false };
        let of_it = |(id, holder): (&u64, &Holder)| (holder.connection.id() == connection.id()).then_some(*id);
        let ids: Vec<u64> = self.holders.iter().filter_map(of_it).collect();
        ids.into_iter().for_each(|id| self.give_back(id, usize::MAX));
        connection.give_way();
        true
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn charge(&mut self, held: &Held, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.used += bytes;
        for payer in &held.payers {
            *self.payers.entry(payer.clone()).or_default() += bytes;
        }
        let holder = self.holders.entry(held.id).or_insert_with(|| Holder {
            bytes: 0,
            payers: held.payers.clone(),
            connection: Arc::clone(&held.connection),
        });
        holder.bytes += bytes;
    }

    /// Returns at most what is charged: nothing if the connection gave way.
    fn give_back(&mut self, id: u64, bytes: usize) {
        let Some(holder) = self.holders.get_mut(&id) else { return };
        let bytes = bytes.min(holder.bytes);
        holder.bytes -= bytes;
        self.used -= bytes;
        for payer in &holder.payers {
            if let Some(used) = self.payers.get_mut(payer) {
                *used -= bytes;
                if *used == 0 {
                    self.payers.remove(payer);
                }
            }
        }
        if holder.bytes == 0 {
            self.holders.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::connections::{Connections, Newcomer, Room, Seat};

    const BYTES_MAX: usize = 1000;

    fn seats(count: usize) -> Vec<Seat> {
        let room = Room { connections_max: count, per_peer_max: count, patience: Duration::ZERO };
        let connections = Connections::new(room);
        let seat = |_| connections.seat(Newcomer { peer: None, is_exempt: true }).unwrap();
        (0..count).map(seat).collect()
    }

    fn held(memory: &Arc<Memory>, seat: &Seat, peer: &str) -> Held {
        let log = Arc::new(RequestLog::begin(None, "GET", Some(peer.parse().unwrap())));
        Account { memory: Arc::clone(memory), connection: Arc::clone(&seat.connection), log }.hold()
    }

    #[test]
    fn nobody_has_more_than_a_share_and_all_together_no_more_than_there_is() {
        let memory = Memory::new(BYTES_MAX, Duration::ZERO);
        let seats = seats(6);
        seats.iter().for_each(|seat| seat.connection.enter(Phase::Working));
        let mut held: Vec<_> = (0..6).map(|at| held(&memory, &seats[at], &format!("10.0.0.{}", at.max(1)))).collect();
        held[0].grow_to(200).unwrap();
        assert!(matches!(held[1].grow_to(51), Err(Error::Busy { .. })), "it is the peer of the first");
        held[1].grow_to(50).unwrap();
        (2..5).for_each(|at| held[at].grow_to(250).unwrap());
        assert!(matches!(held[5].grow_to(1), Err(Error::Busy { .. })));
        held.remove(0);
        held[4].grow_to(200).unwrap();
        drop(held);
        let accounts = memory.accounts();
        assert!(accounts.used == 0 && accounts.payers.is_empty() && accounts.holders.is_empty());
    }

    #[test]
    fn who_waits_for_its_peer_gives_way_once_and_is_charged_no_more() {
        let memory = Memory::new(BYTES_MAX, Duration::ZERO);
        let seats = seats(3);
        let mut held: Vec<_> = seats.iter().map(|seat| held(&memory, seat, "10.0.0.1")).collect();
        held[0].grow_to(250).unwrap();
        seats[0].connection.enter(Phase::Body);
        held[1].grow_to(100).unwrap();
        assert!(seats[0].connection.has_given_way());
        drop(held.remove(0));
        assert_eq!(memory.accounts().used, 100);
        held[1].take(5000);
        assert!(!seats[1].connection.has_given_way(), "it is being served");
        assert_eq!(memory.accounts().used, 5100, "a reply is there, whatever it takes");
        let mut next = self::held(&memory, &seats[2], "10.0.0.1");
        assert!(matches!(next.grow_to(0), Err(Error::Busy { .. })), "and the next is refused before there is one");
        seats[2].connection.enter(Phase::Reply);
        assert!(next.grow_to(0).is_err(), "nobody makes way for itself");
    }
}
