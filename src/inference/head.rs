//! The heads of calls: what a model gets of the caller's request, and what the caller gets of the model's reply.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, Uri};

use super::sent::Sent;
use crate::domain::calls::{Asks, Call};
use crate::error::{CallFailure, Error};
use crate::runner::fleet::{Address, Replica, Server};

/// The path at which a Truss server predicts.
const TRUSS_PREDICT: &str = "/v1/models/model:predict";
/// The path at which a Truss server accepts websockets.
const TRUSS_WEBSOCKET: &str = "/v1/websocket";

const TOKEN: HeaderName = HeaderName::from_static("x-guildhall-token");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-request-id");

/// Headers that concern one connection alone. They are not passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers of a caller that a model does not get: credentials, what only this server may say, and what the connection
/// to the model sets itself.
const NOT_SENT: [HeaderName; 7] =
    [header::AUTHORIZATION, header::COOKIE, header::HOST, header::EXPECT, header::CONTENT_LENGTH, TOKEN, REQUEST_ID];

/// Headers of a model that a caller does not get: they would speak for the whole host, which other teams share.
const NOT_ANSWERED: [HeaderName; 4] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    header::ALT_SVC,
];

/// The request for the server of a model.
pub(super) fn request(
    head: &Parts,
    call: &Call,
    replica: &Replica,
    request_id: &str,
    body: Sent,
) -> Result<Request<Sent>, Error> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = without(&head.headers, &NOT_SENT);
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    match &replica.address {
        Address::Process { token, server, .. } => {
            headers.insert(TOKEN, HeaderValue::from_str(token).map_err(|_| unsendable())?);
            *request.uri_mut() = target(head, call.asks, server)?;
        }
        Address::Endpoint(_) => return Err(unsendable()),
    }
    Ok(request)
}

fn unsendable() -> Error {
    Error::Call(CallFailure::Unavailable("this replica cannot be called".to_owned()))
}

fn target(head: &Parts, asks: Asks, server: &Server) -> Result<Uri, Error> {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = match (asks, server) {
        (Asks::Prediction, Server::Truss) => TRUSS_PREDICT.to_owned(),
        (Asks::Websocket, Server::Truss) => TRUSS_WEBSOCKET.to_owned(),
        (Asks::Prediction | Asks::Websocket, Server::Custom { predict_path }) => predict_path.clone(),
        (Asks::Path { segments }, Server::Truss | Server::Custom { .. }) => last(head.uri.path(), segments),
    };
    let target = format!("{path}{query}");
    target.parse().map_err(|_| Error::Invalid("the path or the query cannot be passed on".to_owned()))
}

/// The last segments of a path, as they were sent.
fn last(path: &str, segments: usize) -> String {
    let (path, slash) = path.strip_suffix('/').map_or((path, ""), |path| (path, "/"));
    let mut rest: Vec<&str> = path.rsplit('/').take(segments).collect();
    rest.reverse();
    if segments == 0 { "/".to_owned() } else { format!("/{}{slash}", rest.join("/")) }
}

/// Removes from a model's reply what is not for the caller.
pub(super) fn clean<B>(response: &mut Response<B>, request_id: &str) {
    let mut headers = without(response.headers(), &NOT_ANSWERED);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    *response.headers_mut() = headers;
}

/// The headers without those of one connection and without those listed.
fn without(headers: &HeaderMap, others: &[HeaderName]) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    let passes = |name: &HeaderName| {
        !HOP_BY_HOP.contains(name) && !others.contains(name) && !named.iter().any(|named| named == name.as_str())
    };
    let passed = headers.iter().filter(|(name, _)| passes(name));
    passed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_is_passed_on_as_it_was_sent() {
        assert_eq!(last("/production/sync/a%2Fb/c", 2), "/a%2Fb/c");
        assert_eq!(last("/production/sync/a/", 1), "/a/");
        assert_eq!(last("/production/sync", 0), "/");
    }

    #[test]
    fn headers_of_one_connection_and_credentials_are_not_passed_on() {
        let sent = [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("authorization", "Bearer key"),
            ("cookie", "a=b"),
            ("x-guildhall-token", "forged"),
            ("content-type", "application/json"),
        ];
        let headers = sent.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let passed = without(&headers.into_iter().collect(), &NOT_SENT);
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["content-type"]);
    }
}
