//! Calls to Model APIs: passed to the upstream that the operator configured.

use std::time::Instant;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};

use super::answer::{Answer, Counts};
use super::asking::Asking;
use super::{Calls, Sent, head};
use crate::domain::model_apis::ModelApiCall;
use crate::domain::remote_url::PlainHttp;
use crate::error::{CallFailure, Error};

/// The headers of a caller that an upstream gets.
const SENT: [HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-request-id");

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
                asked.answered(response.status().as_u16());
                let mut response = response.map(|received| Answer::new(received, Counts::ModelApi(asked)));
                head::clean(&mut response, request_id);
                Ok(response)
            }
            Err(error) => {
                asked.answered(error.status().0);
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
