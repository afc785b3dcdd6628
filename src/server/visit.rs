//! One connection while it is served.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::outgoing::Outgoing;
use super::paced::{Pace, Streaming};
use crate::api::Listener;
use crate::budget::connections::{Connection, Phase, Seat};
use crate::inference::{Answer, Tunnel};

/// One connection and its peer.
pub(super) struct Visit {
    pub from: Listener,
    pub peer: Option<IpAddr>,
    /// The local address that it connected to.
    pub here: SocketAddr,
    pub seat: Seat,
    pub pace: Rc<Cell<Pace>>,
    /// The websocket that the connection becomes after the reply.
    pub tunnel: Cell<Option<Tunnel>>,
}

impl Visit {
    pub fn connection(&self) -> &Arc<Connection> {
        &self.seat.connection
    }

    /// The reply of a model, during which the connection waits for nobody's next request.
    pub fn streams(&self, answer: Answer, limits: Limits) -> Outgoing {
        let (pace, connection) = (Rc::clone(&self.pace), Arc::clone(self.connection()));
        Outgoing::Call { answer: Box::new(answer), _streaming: Streaming { pace, connection, limits } }
    }

    /// Waits until this connection must close to make room. A request whose body gives way is answered first.
    pub async fn given_way(&self, linger: Duration) {
        self.connection().given_way().await;
        if self.connection().phase() == Phase::Body {
            tokio::time::sleep(linger).await;
        }
    }

    /// Waits until the connection has been idle, or has sent only part of a head, for this long.
    pub async fn idles(&self, long: Duration) {
        loop {
            tokio::time::sleep(long).await;
            if matches!(self.connection().phase(), Phase::Idle | Phase::Head) && self.connection().since() >= long {
                return;
            }
        }
    }
}
