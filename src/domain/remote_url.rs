//! URLs of other servers, which this server calls: webhooks and the upstreams of Model APIs.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::Error;

const URL_BYTES_MAX: usize = 2048;
/// Where one provider answers for the metadata of a machine; the others use link-local addresses.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// A URL of another server: `https`, or `http` for this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    is_https: bool,
    /// In lower case; an IPv6 address without brackets.
    host: String,
    port: u16,
    /// The path with its query, from the first slash.
    target: String,
}

/// Where `http` is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// For addresses of this machine, which the network does not carry.
    OnLoopback,
    Anywhere,
}

impl RemoteUrl {
    /// Reads a URL. `field` is its name in refusals.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is not an absolute URL of an accepted scheme, has a user name or a fragment, or names an
    /// address that [`is_forbidden`] refuses.
    pub fn parse(field: &str, text: &str, plain: PlainHttp) -> Result<RemoteUrl, Error> {
        let refused = |why: &str| Error::field(field, why);
        if text.len() > URL_BYTES_MAX {
            return Err(refused(&format!("must be at most {URL_BYTES_MAX} bytes")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("must be a URL in ASCII without spaces: encode what is not"));
        }
        let (is_https, rest) = match (prefixed(text, "https://"), prefixed(text, "http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(refused("must begin with https://")),
        };
        if rest.contains('#') {
            return Err(refused("must not have a fragment"));
        }
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(authority_end);
        let (host, port) = host_and_port(authority, is_https)
            .ok_or_else(|| refused("must name a host, perhaps with a port, and no user"))?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let url = RemoteUrl { is_https, host, port, target };
        if url.address().is_some_and(is_forbidden) {
            return Err(refused("must not name a link-local, multicast or metadata address"));
        }
        if !is_https && plain == PlainHttp::OnLoopback && !url.is_loopback() {
            return Err(refused("must begin with https:// unless it is of this machine"));
        }
        Ok(url)
    }

    pub fn is_https(&self) -> bool {
        self.is_https
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path with its query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The `Host` header: the host, and the port if it is not the default port of the scheme.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.is_https) { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL with this path appended to its own.
    pub fn join(&self, path: &str) -> RemoteUrl {
        let base = self.target.split('?').next().unwrap_or_default().trim_end_matches('/');
        RemoteUrl { target: format!("{base}/{}", path.trim_start_matches('/')), ..self.clone() }
    }

    /// Whether this server may connect to an address that the host was resolved to.
    pub fn may_connect_to(&self, address: IpAddr, plain: PlainHttp) -> bool {
        let is_private_to_this_machine = address.to_canonical().is_loopback();
        !is_forbidden(address) && (self.is_https || plain == PlainHttp::Anywhere || is_private_to_this_machine)
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    fn is_loopback(&self) -> bool {
        let is_name = self.host == "localhost" || self.host.ends_with(".localhost");
        is_name || self.address().is_some_and(|address| address.to_canonical().is_loopback())
    }
}

/// Whether this server never connects to an address for a tenant: link-local addresses, where providers answer for the
/// metadata of a machine, multicast, and addresses that name no host.
pub fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_link_local() || address.is_multicast() || address.is_unspecified() || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            let is_link_local = address.segments()[0] & 0xffc0 == 0xfe80;
            is_link_local || address.is_multicast() || address.is_unspecified() || address == METADATA_V6
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

fn prefixed<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

fn host_and_port(authority: &str, is_https: bool) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (host, port)
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_name) {
                return None;
            }
            // Resolvers read `127.1` and `0x7f000001` as addresses; only the plain form of an address is accepted.
            let ends_in_number = host.rsplit('.').find(|label| !label.is_empty()).is_some_and(is_number);
            if ends_in_number && host.parse::<std::net::Ipv4Addr>().is_err() {
                return None;
            }
            (host, port)
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => default_port(is_https),
    };
    Some((host.to_ascii_lowercase(), port))
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit()) || label.starts_with("0x") || label.starts_with("0X")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RemoteUrl, Error> {
        RemoteUrl::parse("webhook_endpoint", text, PlainHttp::OnLoopback)
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = parse("HTTPS://Hooks.example.com/a/b?c=d").unwrap();
        assert_eq!((url.host(), url.port(), url.target()), ("hooks.example.com", 443, "/a/b?c=d"));
        assert_eq!(url.to_string(), "https://hooks.example.com/a/b?c=d");
        let url = parse("http://127.0.0.1:9000").unwrap();
        assert_eq!((url.authority().as_str(), url.target()), ("127.0.0.1:9000", "/"));
        assert_eq!(parse("http://[::1]:9000/x").unwrap().authority(), "[::1]:9000");
        let base = parse("https://models.example.com/v1/").unwrap();
        assert_eq!(base.join("chat/completions").to_string(), "https://models.example.com/v1/chat/completions");
    }

    #[test]
    fn what_is_no_remote_url_is_refused() {
        for text in [
            "",
            "hooks.example.com",
            "ftp://hooks.example.com",
            "https://",
            "https://user@hooks.example.com",
            "https://hooks.example.com:0",
            "https://hooks.example.com:port",
            "https://hooks.example.com/#a",
            "https://two words",
            "https://hôte",
            "https://[::1",
            "http://hooks.example.com",
            "http://10.0.0.5",
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[fd00:ec2::254]/",
            "https://0.0.0.0/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2852039166/",
            "https://1.2.3.0x4/",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(RemoteUrl::parse("url", "http://10.0.0.5:8000/v1", PlainHttp::Anywhere).is_ok());
    }

    #[test]
    fn a_name_may_not_resolve_to_a_forbidden_address() {
        let plain = parse("http://localhost:9000").unwrap();
        assert!(plain.may_connect_to("127.0.0.1".parse().unwrap(), PlainHttp::OnLoopback));
        assert!(!plain.may_connect_to("10.0.0.5".parse().unwrap(), PlainHttp::OnLoopback));
        let url = parse("https://hooks.example.com").unwrap();
        assert!(url.may_connect_to("10.0.0.5".parse().unwrap(), PlainHttp::OnLoopback));
        for address in ["169.254.169.254", "fe80::1", "::ffff:169.254.1.1", "0.0.0.0", "224.0.0.1"] {
            assert!(!url.may_connect_to(address.parse().unwrap(), PlainHttp::Anywhere), "{address}");
        }
    }
}
