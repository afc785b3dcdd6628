//! A call in progress: what it holds, and its count when it ends.

use std::sync::Arc;
use std::time::Instant;

use super::shares::Share;
use crate::domain::calls::{Call, CallMade, Mode, STATUS_CALLER_LEFT};
use crate::runner::fleet::Lease;
use crate::runner::meter::Meter;

/// A call that is counted when this is dropped.
pub(super) struct Progress {
    meter: Arc<Meter>,
    since: Instant,
    made: CallMade,
    lease: Option<Lease>,
    _share: Option<Share>,
}

impl Progress {
    /// Begins a call. Until it is answered, it counts as one whose caller left.
    pub fn begin(meter: &Arc<Meter>, call: &Call, mode: Mode, share: Option<Share>) -> Progress {
        let made = CallMade {
            org_id: call.org_id.clone(),
            team_id: call.team_id.clone(),
            model_id: call.model_id.clone(),
            deployment_id: call.deployment_id.clone(),
            environment: call.environment.clone(),
            caller: call.caller.clone(),
            status: STATUS_CALLER_LEFT,
            milliseconds: 0,
            bytes: 0,
            mode,
            input_tokens: None,
            output_tokens: None,
        };
        Progress { meter: Arc::clone(meter), since: Instant::now(), made, lease: None, _share: share }
    }

    /// Keeps the replica until the call ends.
    pub fn hold(&mut self, lease: Lease) -> &Lease {
        self.lease.insert(lease)
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub fn answered(&mut self, status: u16) {
        self.made.status = status;
    }

    pub fn exchanged(&mut self, bytes: u64) {
        self.made.bytes = bytes;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.made.milliseconds = self.since.elapsed().as_millis() as u64;
        self.meter.note(self.made.clone());
    }
}
