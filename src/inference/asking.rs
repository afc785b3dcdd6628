//! A call to a Model API in progress, and its count when it ends, by what the answer says was used.

use std::sync::Arc;
use std::time::Instant;

use super::shares::Share;
use crate::domain::calls::STATUS_CALLER_LEFT;
use crate::domain::model_apis::{ModelApiCall, ModelApiUsed, Tokens};
use crate::runner::meter::Meter;
use crate::wire::openai;

/// How much of the end of an answer is kept to read the usage from.
const TAIL_BYTES: usize = 16 << 10;

/// A call to a Model API in progress. It is counted when this is dropped.
pub(super) struct Asking {
    meter: Arc<Meter>,
    since: Instant,
    used: ModelApiUsed,
    /// The end of the answer so far.
    tail: Vec<u8>,
    _share: Share,
}

impl Asking {
    /// Begins a call. Until it is answered, it counts as one whose caller left.
    pub fn begin(meter: &Arc<Meter>, call: &ModelApiCall, share: Share) -> Asking {
        let used = ModelApiUsed {
            org_id: call.org_id.clone(),
            team_id: call.team_id.clone(),
            caller: call.caller.clone(),
            slug: call.route.slug.clone(),
            status: STATUS_CALLER_LEFT,
            milliseconds: 0,
            tokens: None,
        };
        Asking { meter: Arc::clone(meter), since: Instant::now(), used, tail: Vec::new(), _share: share }
    }

    pub fn answered(&mut self, status: u16) {
        self.used.status = status;
    }

    /// Looks at a piece of the answer.
    pub fn saw(&mut self, piece: &[u8]) {
        let kept = &piece[piece.len().saturating_sub(TAIL_BYTES)..];
        self.tail.extend_from_slice(kept);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.used.milliseconds = self.since.elapsed().as_millis() as u64;
        self.used.tokens = tokens(&self.tail);
        self.meter.note_model_api(self.used.clone());
    }
}

/// The tokens that the end of an answer says were used: an object, or the last event of a stream that says it.
fn tokens(tail: &[u8]) -> Option<Tokens> {
    const KEY: &[u8] = b"\"usage\"";
    let places = (0..tail.len().saturating_sub(KEY.len())).rev().filter(|at| tail[*at..].starts_with(KEY));
    places.take(PLACES_MAX).find_map(|at| openai::tokens(&tail[at + KEY.len()..]))
}

/// In how many places the usage is looked for. Each event of a stream may say that it has none.
const PLACES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_usage_of_an_answer_counts() {
        let whole = br#"{"choices": [{"text": "\"usage\": {\"prompt_tokens\": 9}"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}"#;
        assert_eq!(tokens(whole), Some(Tokens { input: 1, output: 2, cached: 0 }));
        let stream = b"data: {\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
        assert_eq!(tokens(stream), Some(Tokens { input: 3, output: 4, cached: 0 }));
        assert_eq!(tokens(b"data: {\"usage\":null}\n\n"), None);
        assert_eq!(tokens(b"\"usage\""), None);
    }
}
