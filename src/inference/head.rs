//! The heads of calls: what a model gets of the caller's request, and what the caller gets of the model's reply.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};

use super::sent::Sent;
use crate::domain::calls::{Asks, Call};
use crate::domain::remote_url::RemoteUrl;
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
    if call.asks == Asks::Websocket {
        check_handshake(&head.headers)?;
    }
    if is_handshake(&head.headers) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let path = path(head, call.asks, &replica.address);
    match &replica.address {
        Address::Process { token, .. } => {
            headers.insert(TOKEN, secret(token)?);
            *request.uri_mut() = target(&path, head.uri.query())?;
        }
        Address::Endpoint(endpoint) => {
            for (name, value) in &endpoint.headers {
                let name = HeaderName::try_from(name.as_str()).map_err(|_| unsendable())?;
                headers.insert(name, secret(value)?);
            }
            let url = if path.is_empty() { endpoint.url.clone() } else { endpoint.url.join(&path) };
            lead_to(&mut request, &url)?;
            if !url.target().contains('?') {
                *request.uri_mut() = target(url.target(), head.uri.query())?;
            }
        }
    }
    Ok(request)
}

/// Gives a request the host, the path and the query of a URL.
pub(super) fn lead_to<B>(request: &mut Request<B>, url: &RemoteUrl) -> Result<(), Error> {
    *request.uri_mut() = target(url.target(), None)?;
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(&url.authority()).map_err(|_| unsendable())?);
    Ok(())
}

/// A header value that is in no log.
fn secret(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| unsendable())?;
    value.set_sensitive(true);
    Ok(value)
}

fn unsendable() -> Error {
    let why = "a header of the endpoint holds what no header may: correct it in the configuration or in the secret";
    Error::Call(CallFailure::Unavailable(why.to_owned()))
}

fn is_handshake(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn check_handshake(headers: &HeaderMap) -> Result<(), Error> {
    if is_handshake(headers) {
        return Ok(());
    }
    let why = "this path takes websockets alone: send `Connection: Upgrade` and `Upgrade: websocket`";
    Err(Error::Invalid(why.to_owned()))
}

/// The path at the model's server. Empty for the URL of an endpoint itself.
fn path(head: &Parts, asks: Asks, address: &Address) -> String {
    match (asks, address) {
        (Asks::Path { segments }, _) => last(head.uri.path(), segments),
        (Asks::Prediction, Address::Process { server: Server::Truss, .. }) => TRUSS_PREDICT.to_owned(),
        (Asks::Websocket, Address::Process { server: Server::Truss, .. }) => TRUSS_WEBSOCKET.to_owned(),
        (Asks::Prediction | Asks::Websocket, Address::Process { server: Server::Custom { predict_path }, .. }) => {
            predict_path.clone()
        }
        (Asks::Prediction | Asks::Websocket, Address::Endpoint(_)) => String::new(),
    }
}

fn target(path: &str, query: Option<&str>) -> Result<Uri, Error> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
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
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
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
