//! Calls to Model APIs: passed to the upstream that the operator configured, and counted by what its answer says.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};

use super::answer::{Answer, Counts};
use super::shares::Share;
use super::{Calls, Sent, head};
use crate::domain::calls::STATUS_CALLER_LEFT;
use crate::domain::model_apis::{ModelApiCall, ModelApiUsed, Tokens};
use crate::domain::remote_url::PlainHttp;
use crate::error::{CallFailure, Error};
use crate::runner::meter::Meter;
use crate::wire::openai;

/// The headers of a caller that an upstream gets.
const SENT: [HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-request-id");
/// How much of the end of an answer is kept to read the usage from.
const TAIL_BYTES: usize = 16 << 10;

impl Calls {
    /// Passes a body to the upstream of a Model API.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why the upstream did not answer.
    pub async fn ask(
        &self,
        call: &ModelApiCall,
        headers: &HeaderMap,
        body: Bytes,
        request_id: &str,
    ) -> Result<Response<Answer>, Error> {
        let share = self.shares.take(&call.org_id, &call.team_id)?;
        let mut asked = Asking::begin(&self.app.meter, call, share);
        let url = call.route.url.join(call.endpoint.path());
        let request = request(call, headers, body, request_id)?;
        let deadline = Instant::now() + self.limits.call;
        match self.fetch(&url, PlainHttp::Anywhere, request, deadline).await {
            Ok(response) => {
                asked.used.status = response.status().as_u16();
                let mut response = response.map(|received| Answer::new(received, Counts::ModelApi(asked)));
                head::clean(&mut response, request_id);
                Ok(response)
            }
            Err(error) => {
                asked.used.status = error.status().0;
                Err(error)
            }
        }
    }
}

fn request(call: &ModelApiCall, headers: &HeaderMap, body: Bytes, request_id: &str) -> Result<Request<Sent>, Error> {
    let mut request = Request::post("/").body(Sent::whole(body)).expect("a method and a path of ours");
    let sent = request.headers_mut();
    for name in SENT {
        if let Some(value) = headers.get(&name) {
            sent.insert(name, value.clone());
        }
    }
    // A compressed answer would not say what was used.
    sent.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        sent.insert(REQUEST_ID, id);
    }
    if let Some(credential) = &call.route.credential {
        let unsendable =
            |_| Error::Call(CallFailure::Unavailable("its credential is no header: add it again".to_owned()));
        let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.expose())).map_err(unsendable)?;
        value.set_sensitive(true);
        sent.insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

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
    fn begin(meter: &Arc<Meter>, call: &ModelApiCall, share: Share) -> Asking {
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
