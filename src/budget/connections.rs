//! The open connections, what each waits for, and which one closes when there is no room.
//!
//! A connection that waits for its peer may be closed for a new one; the one that has been idle longest goes first. A
//! connection whose request is being answered is never closed for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No byte of a request has arrived.
    Idle = 0,
    /// Part of a head has arrived.
    Head = 1,
    /// A body is being read.
    Body = 2,
    /// A request is being answered: the server does not wait for the peer.
    Working = 3,
    /// A reply waits for its reader.
    Reply = 4,
    /// The reply is sent; bytes that still arrive are discarded.
    Closing = 5,
}

impl Phase {
    const ALL: [Phase; 6] = [Phase::Idle, Phase::Head, Phase::Body, Phase::Working, Phase::Reply, Phase::Closing];
}

/// The shared state of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    peer: Option<IpAddr>,
    /// Whether the peer is a trusted proxy, whose connections are not counted.
    is_exempt: bool,
    /// The number of connections of this peer.
    of_peer: Arc<AtomicUsize>,
    /// The last three bits hold the phase. The bits before them hold the millisecond at which the phase began.
    phase: AtomicU64,
    gives_way: watch::Sender<bool>,
}

impl Connection {
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn phase(&self) -> Phase {
        Phase::ALL[(self.phase.load(Ordering::Relaxed) & 7) as usize]
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(milliseconds() << 3 | phase as u64, Ordering::Relaxed);
    }

    /// How long the connection has been in its phase.
    pub fn since(&self) -> Duration {
        let since = self.phase.load(Ordering::Relaxed) >> 3;
        Duration::from_millis(milliseconds().saturating_sub(since))
    }

    /// Asks the connection to close.
    pub fn give_way(&self) {
        self.gives_way.send_replace(true);
    }

    pub fn has_given_way(&self) -> bool {
        *self.gives_way.borrow()
    }

    /// Waits until the connection is asked to close.
    pub async fn given_way(&self) {
        let _ = self.gives_way.subscribe().wait_for(|gives_way| *gives_way).await; // the sender lives as long as `self`
    }

    /// The order of closing; lower goes first. `None` if a request is being answered or the wait has only just begun.
    fn rank(&self, patience: Duration) -> Option<(bool, bool, std::cmp::Reverse<usize>, std::cmp::Reverse<Duration>)> {
        let since = self.since();
        let is_in_request = match self.phase() {
            Phase::Idle | Phase::Head | Phase::Closing => false,
            Phase::Body | Phase::Reply if since >= patience => true,
            Phase::Body | Phase::Reply | Phase::Working => return None,
        };
        let of_peer = if self.is_exempt { 0 } else { self.of_peer.load(Ordering::Relaxed) };
        Some((is_in_request, self.is_exempt, std::cmp::Reverse(of_peer), std::cmp::Reverse(since)))
    }
}

/// Milliseconds since the process started.
fn milliseconds() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGIN.elapsed().as_millis() as u64
}

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub connections_max: usize,
    pub per_peer_max: usize,
    /// How long a body or a reply may wait for its peer before its connection may be closed for others.
    pub patience: Duration,
}

/// All connections of one listener.
pub(crate) struct Connections {
    room: Room,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    connections: HashMap<u64, Arc<Connection>>,
    peers: HashMap<IpAddr, Arc<AtomicUsize>>,
    next_id: u64,
}

/// A peer: an address that is counted, or a trusted proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub peer: Option<IpAddr>,
    pub is_exempt: bool,
}

/// A slot for one connection. Dropping it frees the slot.
pub(crate) struct Seat {
    pub connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Connections {
    pub fn new(room: Room) -> Arc<Connections> {
        Arc::new(Connections { room, table: Mutex::default() })
    }

    /// Reserves a slot; another connection may have to close. `None` if all of them are answering requests.
    pub fn seat(self: &Arc<Self>, newcomer: Newcomer) -> Option<Seat> {
        let mut table = self.table();
        let of_peer = match newcomer.peer {
            Some(peer) => Arc::clone(table.peers.entry(peer).or_default()),
            None => Arc::default(),
        };
        let has_its_share = !newcomer.is_exempt && of_peer.load(Ordering::Relaxed) >= self.room.per_peer_max;
        if has_its_share && !table.make_way(self.room.patience, |other| other.peer == newcomer.peer) {
            return None;
        }
        if table.connections.len() >= self.room.connections_max && !table.make_way(self.room.patience, |_| true) {
            table.forget_peer(newcomer.peer);
            return None;
        }
        of_peer.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            id: table.next_id,
            peer: newcomer.peer,
            is_exempt: newcomer.is_exempt,
            of_peer,
            phase: AtomicU64::new(milliseconds() << 3),
            gives_way: watch::Sender::new(false),
        });
        table.next_id += 1;
        table.connections.insert(connection.id, Arc::clone(&connection));
        Some(Seat { connection, connections: Arc::clone(self) })
    }

    /// Closes a connection that waits for its peer, because the system has no room for more.
    pub fn make_way(&self) {
        self.table().make_way(self.room.patience, |_| true);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_way(&mut self, patience: Duration, among: impl Fn(&Connection) -> bool) -> bool {
        let ranked = self.connections.values().filter(|other| among(other));
        let first = ranked.filter_map(|other| Some((other.rank(patience)?, other.id))).min();
        let Some((_, id)) = first else { return false };
        if let Some(other) = self.remove(id) {
            tracing::debug!(peer = other.peer.map(tracing::field::display), phase = ?other.phase(), "a connection gives way");
            other.give_way();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&id)?;
        connection.of_peer.fetch_sub(1, Ordering::Relaxed);
        self.forget_peer(connection.peer);
        Some(connection)
    }

    fn forget_peer(&mut self, peer: Option<IpAddr>) {
        if let Some(peer) = peer
            && self.peers.get(&peer).is_some_and(|count| count.load(Ordering::Relaxed) == 0)
        {
            self.peers.remove(&peer);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().remove(self.connection.id); // already removed if it gave way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3600);

    fn connections(connections_max: usize, per_peer_max: usize) -> Arc<Connections> {
        Connections::new(Room { connections_max, per_peer_max, patience: PATIENCE })
    }

    fn from(address: &str) -> Newcomer {
        Newcomer { peer: Some(address.parse().unwrap()), is_exempt: false }
    }

    fn gave_way(seats: &[Seat]) -> Vec<bool> {
        seats.iter().map(|seat| seat.connection.has_given_way()).collect()
    }

    #[test]
    fn who_idles_longest_gives_way_and_who_is_served_does_not() {
        let connections = connections(3, 3);
        let seats: Vec<_> = (0..3).map(|_| connections.seat(from("10.0.0.1")).unwrap()).collect();
        seats[0].connection.enter(Phase::Working);
        std::thread::sleep(Duration::from_millis(5));
        seats[1].connection.enter(Phase::Idle);
        let _newcomer = connections.seat(from("10.0.0.1")).unwrap();
        assert_eq!(gave_way(&seats), [false, false, true]);
        seats[1].connection.enter(Phase::Body);
        _newcomer.connection.enter(Phase::Reply);
        assert!(connections.seat(from("10.0.0.2")).is_none(), "all are being served");
    }

    #[test]
    fn a_peer_that_has_its_share_makes_way_for_itself() {
        let connections = connections(10, 2);
        let other = [connections.seat(from("10.0.0.2")).unwrap()];
        let seats: Vec<_> = (0..5).map(|_| connections.seat(from("10.0.0.1")).unwrap()).collect();
        assert_eq!(gave_way(&other), [false]);
        assert_eq!(gave_way(&seats).iter().filter(|gave_way| **gave_way).count(), 3);
        let behind_a_proxy = Newcomer { is_exempt: true, ..from("10.0.0.3") };
        let seats: Vec<_> = (0..5).map(|_| connections.seat(behind_a_proxy).unwrap()).collect();
        assert_eq!(gave_way(&seats), [false; 5]);
    }

    #[test]
    fn the_peer_with_the_most_connections_makes_way_for_others() {
        let connections = connections(4, 4);
        let lone = [connections.seat(from("10.0.0.2")).unwrap()];
        let many: Vec<_> = (0..3).map(|_| connections.seat(from("10.0.0.1")).unwrap()).collect();
        let _newcomer = connections.seat(from("10.0.0.3")).unwrap();
        assert_eq!(gave_way(&lone), [false]);
        assert_eq!(gave_way(&many).iter().filter(|gave_way| **gave_way).count(), 1);
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let connections = connections(2, 2);
        for _ in 0..10 {
            let seats: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| connections.seat(from(peer))).into();
            drop(seats);
        }
        let table = connections.table();
        assert!(table.connections.is_empty() && table.peers.is_empty());
    }
}
