//! The URL at which clients reach this server. The links that the server returns begin with it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::error::Error;

const HTTP_PORT: u16 = 80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: &'static str,
    /// The host in lower case, with the port if it is not the default port of the scheme.
    authority: String,
}

impl BaseUrl {
    /// The URL for the `Host` header of a request. [`BaseUrl::parse`] reads the URL of a reverse proxy that terminates
    /// TLS.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the text cannot be a host.
    pub fn of_host(host: &str) -> Result<BaseUrl, Error> {
        let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(of_a_host) {
            return Err(Error::Invalid("the `Host` header is not a host".to_owned()));
        }
        Ok(BaseUrl { scheme: "http", authority: host.to_ascii_lowercase() })
    }

    /// Reads a public URL: a scheme, a host and optionally a port.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the URL has another scheme, a path, a query, a user name or an invalid host or port.
    pub fn parse(url: &str) -> Result<BaseUrl, Error> {
        let schemes = ["https", "http"].into_iter();
        let named = schemes.filter_map(|scheme| Some((scheme, url.strip_prefix(scheme)?.strip_prefix("://")?))).next();
        let refused = || {
            let example = "https://guildhall.example.com or http://10.0.0.5:8000";
            Error::Invalid(format!("a public URL is a scheme, a host and perhaps a port, such as {example}"))
        };
        let (scheme, rest) = named.ok_or_else(refused)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let BaseUrl { authority, .. } = BaseUrl::of_host(authority).map_err(|_| refused())?;
        let (name, port) = split(&authority);
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let is_name =
            !name.is_empty() && (name.starts_with('[') == name.ends_with(']')) && !bare(name).contains(['[', ']']);
        if is_port && is_name { Ok(BaseUrl { scheme, authority }) } else { Err(refused()) }
    }

    /// Whether the connection of the client is encrypted.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// The first label of the host. For a host that [`BaseUrl::of`] makes, it names a model or a Chain.
    pub fn label(&self) -> &str {
        split(&self.authority).0.split('.').next().unwrap_or_default()
    }

    /// The URL for the address at which a connection arrived.
    pub fn of_address(address: SocketAddr) -> BaseUrl {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        BaseUrl { scheme: "http", authority: address.to_string() }
    }

    /// The host and the port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether this URL names the server that was reached at `here`: one of this machine's own names, that address, or
    /// the URL that the server listens on. Hosts of models, Chains and the API have labels before these names.
    pub fn is_of_this_host(&self, here: SocketAddr, listen: Option<&BaseUrl>) -> bool {
        let (name, port) = split(&self.authority);
        let Some(port) = port.map_or(Some(HTTP_PORT), |port| port.parse().ok()) else { return false };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_this = |name: &str| {
            let address = bare(name).parse::<IpAddr>().ok().map(|address| address.to_canonical());
            let is_listen = listen.is_some_and(|listen| {
                let (listen, listen_port) = split(&listen.authority);
                name == listen && listen_port.and_then(|port| port.parse().ok()).unwrap_or(HTTP_PORT) == port
            });
            let is_here = address == Some(here.ip().to_canonical()) && port == here.port();
            let is_loopback = address.is_some_and(|address| address.is_loopback());
            is_loopback || is_here || is_listen || name == "localhost" || name.ends_with(".localhost")
        };
        is_this(name) || without_label(name).is_some_and(is_this)
    }

    /// The URL at which a model or a Chain is called. For `localhost` and for addresses it is under `api.localhost`,
    /// where truss also looks for the rest of the API.
    pub fn of(&self, kind: &str, id: &str) -> String {
        let (name, port) = split(&self.authority);
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_here = name == "localhost" || name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
        let base = if is_here || name == "api.localhost" { "api.localhost" } else { name };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{kind}-{id}.{base}{port}", self.scheme)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// The name and the port. Colons inside the brackets of an IPv6 address do not separate a port.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (authority, None),
    }
}

/// The rest of a name after the label `api`, `model-ID` or `chain-ID`.
fn without_label(name: &str) -> Option<&str> {
    let (label, rest) = name.split_once('.')?;
    (label == "api" || label.starts_with("model-") || label.starts_with("chain-")).then_some(rest)
}

fn bare(name: &str) -> &str {
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_scheme_a_host_and_perhaps_a_port() {
        for (url, shown) in [
            ("https://Guildhall.example.com", "https://guildhall.example.com"),
            ("https://guildhall.example.com/", "https://guildhall.example.com"),
            ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://[::1]", "https://[::1]"),
        ] {
            assert_eq!(BaseUrl::parse(url).unwrap().to_string(), shown);
        }
        for url in [
            "",
            "guildhall.example.com",
            "ftp://guildhall.example.com",
            "https://",
            "https:///",
            "https://host/path",
            "https://host?query",
            "https://host#part",
            "https://somebody@host",
            "https://host:0",
            "https://host:port",
            "https://host:65536",
            "https://:8000",
            "https://[::1",
            "https://two words",
            "https://hôte",
        ] {
            assert!(BaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_names_of_this_host_are_believed() {
        let here = "10.0.0.5:8000".parse().unwrap();
        let listen = BaseUrl::of_host("guildhall.lan:8000").unwrap();
        let believed = |host: &str| BaseUrl::of_host(host).unwrap().is_of_this_host(here, Some(&listen));
        for host in [
            "localhost",
            "localhost:9999",
            "LocalHost.:8000",
            "api.localhost:8000",
            "model-m1.api.localhost",
            "127.0.0.1:8000",
            "127.3.2.1",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:8000",
            "10.0.0.5:8000",
            "[::ffff:10.0.0.5]:8000",
            "guildhall.lan:8000",
            "api.guildhall.lan:8000",
            "model-m1.guildhall.lan:8000",
            "chain-c1.guildhall.lan.:8000",
        ] {
            assert!(believed(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "api.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1]evil",
            "localhost:port",
            "localhost:8000:80",
            "10.0.0.5",
            "10.0.0.5:8001",
            "10.0.0.6:8000",
            "0.0.0.0:8000",
            "127.1",
            "0177.0.0.1",
            "guildhall.lan",
            "guildhall.lan:8001",
            "other.guildhall.lan:8000",
            "evil.api.guildhall.lan:8000",
            ".",
        ] {
            assert!(!believed(host), "{host}");
        }
        assert_eq!(BaseUrl::of_address("[::1]:80".parse().unwrap()).to_string(), "http://[::1]:80");
    }

    #[test]
    fn models_and_chains_are_called_at_hosts_of_their_own() {
        for (url, host) in [
            ("http://localhost:8000", "http://model-m1.api.localhost:8000"),
            ("http://api.localhost:8000", "http://model-m1.api.localhost:8000"),
            ("http://127.0.0.1:8000", "http://model-m1.api.localhost:8000"),
            ("http://[::1]:8000", "http://model-m1.api.localhost:8000"),
            ("http://[::1]", "http://model-m1.api.localhost"),
            ("http://LocalHost.:8000", "http://model-m1.api.localhost:8000"),
            ("https://guildhall.example.com", "https://model-m1.guildhall.example.com"),
            ("https://guildhall.example.com.:8443", "https://model-m1.guildhall.example.com:8443"),
        ] {
            assert_eq!(BaseUrl::parse(url).unwrap().of("model", "m1"), host);
        }
    }
}
