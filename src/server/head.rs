//! Request heads: host, path, query and body framing, parsed strictly.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::api::Browser;
use crate::db::Now;
use crate::domain::network::Network;
use crate::domain::{BaseUrl, Time};
use crate::error::Error;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The host of a request. There must be exactly one `Host` header. An absolute-form target uses its own authority,
/// because clients use the server as a proxy.
pub(super) fn site(headers: &HeaderMap, uri: &Uri) -> Result<BaseUrl, Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Error::Invalid("send exactly one `Host` header".to_owned()));
    };
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => host.to_str().unwrap_or_default(),
    };
    BaseUrl::of_host(host)
}

/// Splits the raw path first and decodes each segment, so that `%2F` stays inside a name.
pub(super) fn path(uri: &Uri) -> Result<Vec<String>, Error> {
    let path = uri.path().strip_prefix('/').ok_or_else(|| Error::Invalid("the target is not a path".to_owned()))?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(|segment| decode("path", segment)).collect()
}

pub(super) fn query(uri: &Uri) -> Result<Vec<(String, String)>, Error> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let word = |text: &str| decode("query", &text.replace('+', " "));
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((word(name)?, word(value)?))
        })
        .collect()
}

fn decode(place: &str, text: &str) -> Result<String, Error> {
    let refused = |what: &str| Error::Invalid(format!("the {place} holds {what}"));
    let well_formed =
        text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    if !well_formed {
        return Err(refused("a percent sign without two hexadecimal digits"));
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| refused("bytes that are not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(refused("a NUL"));
    }
    Ok(decoded.into_owned())
}

/// The value of a header that may occur once and contains text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value.to_owned())),
            Err(_) => Err(Error::Invalid(format!("the header `{name}` holds bytes that are no text"))),
        },
        (Some(_), Some(_)) => Err(Error::Invalid(format!("send the header `{name}` once"))),
    }
}

/// What a browser says about the page that sent the request. A header that is sent twice counts as not sent.
pub(super) fn browser(headers: &HeaderMap) -> Browser {
    let named = |name| text(headers, name).ok().flatten();
    Browser {
        cookie: named(header::COOKIE),
        origin: named(header::ORIGIN),
        fetch_site: named(SEC_FETCH_SITE),
        csrf: named(X_CSRF_TOKEN),
    }
}

/// Checks the transfer coding. hyper accepts any list that ends in `chunked`; the other codings are not supported
/// here.
pub(super) fn framing(headers: &HeaderMap) -> Result<(), Error> {
    match text(headers, header::TRANSFER_ENCODING)? {
        Some(coding) if !coding.eq_ignore_ascii_case("chunked") => {
            Err(Error::Invalid("the only transfer coding taken is `chunked`".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The address of the client. For a trusted proxy, the last forwarded address that is not a trusted proxy itself.
pub(super) fn peer(headers: &HeaderMap, connected: Option<IpAddr>, trusted_proxies: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted_proxies.iter().any(|network| network.contains(address));
    let connected = connected?.to_canonical();
    if !is_trusted(connected) {
        return Some(connected);
    }
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let named = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(|name| name.trim().parse::<IpAddr>());
    let mut addresses = named.map_while(Result::ok).map(|address| address.to_canonical());
    Some(addresses.find(|address| !is_trusted(*address)).unwrap_or(connected))
}

/// The request id that the client sent, if any.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(X_REQUEST_ID)?.to_str().ok()
}

pub(super) fn now() -> Now {
    Now { time: time(), seed: rand::random() }
}

pub(super) fn time() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 counts as 1970
    Time(since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_authority_of_the_target_comes_before_the_host_header() {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("Header.Example:8000"))]);
        let site = |target| site(&headers, &Uri::from_static(target)).unwrap().to_string();
        assert_eq!(site("/v1/teams"), "http://header.example:8000");
        assert_eq!(site("http://Target.example/v1/teams"), "http://target.example");
    }

    #[test]
    fn a_trusted_proxy_says_whom_it_speaks_for() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| Network::parse(text).unwrap());
        for (connected, forwarded, expected) in [
            ("203.0.113.1", &["198.51.100.7"][..], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("::1", &["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
        ] {
            let lines = forwarded.iter().map(|line| (X_FORWARDED_FOR, HeaderValue::from_static(line)));
            let found = peer(&lines.collect(), Some(connected.parse().unwrap()), &trusted).unwrap();
            assert_eq!(found.to_string(), expected, "{connected} {forwarded:?}");
        }
    }

    #[test]
    fn segments_are_decoded_after_the_path_is_split() {
        assert_eq!(path(&Uri::from_static("/a%2Fb/c%20d+e/")).unwrap(), ["a/b", "c d+e"]);
        let pairs = query(&Uri::from_static("/?name=a+b%26c&flag&&name=")).unwrap();
        let expected = [("name", "a b&c"), ("flag", ""), ("name", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
