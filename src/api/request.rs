//! A request as the server hands it to the API: bounded, its path split and decoded.

use std::sync::Arc;

use bytes::Bytes;

use crate::api::request_log::RequestLog;
use crate::domain::calls::Callee;
use crate::domain::mail::Mailing;
use crate::domain::network::Network;
use crate::domain::{BaseUrl, Time};

/// The reverse proxy in front of the server, which ends TLS for it, if there is one.
#[derive(Debug, Default)]
pub struct ReverseProxy {
    /// The URL at which clients reach the server. Without it, links begin with the host of the request, if that host is
    /// this server.
    pub public: Option<BaseUrl>,
    /// The address to listen on, as it was configured. Without a public URL, links may begin with it.
    pub listen: Option<BaseUrl>,
    pub s3_hosts: S3Hosts,
    /// The proxies whose connections carry requests of many clients. They name the client of each request.
    pub trusted_proxies: Vec<Network>,
}

/// Where a request for the bucket at S3's own host name arrives. Go clients send archives there, whatever endpoint they
/// are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum S3Hosts {
    #[default]
    Elsewhere,
    /// The reverse proxy answers for S3's host name and passes such requests on.
    Here,
}

/// The listener that received a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Network,
    /// The operator's socket in the data directory.
    Operator,
}

/// The headers with which a browser says on whose behalf it sends a request.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// The `Cookie` header.
    pub cookie: Option<String>,
    /// The `Origin` header: the site whose page sent a form.
    pub origin: Option<String>,
    /// The `Sec-Fetch-Site` header: how that site relates to this one.
    pub fetch_site: Option<String>,
    /// The token of the session, which the console's script sends in a header.
    pub csrf: Option<String>,
}

/// A request as the server hands it over: bounded, its path split and decoded.
pub struct Request {
    pub method: String,
    /// The URL at which the sender reaches this server.
    pub base_url: BaseUrl,
    pub s3_hosts: S3Hosts,
    /// The model or the Chain that the request is for, if its host or the beginning of its path names one.
    pub callee: Option<Named>,
    /// The path without the beginning that names a model or a Chain.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub content_type: Option<String>,
    /// Whether links are sent by mail, or shown to whoever makes them.
    pub mailing: Mailing,
    pub browser: Browser,
    pub body: Bytes,
    pub from: Listener,
    pub at: Time,
    pub seed: [u8; 32],
    /// What the log will say about this request.
    pub log: Arc<RequestLog>,
}

/// The model or the Chain that a request names.
#[derive(Clone, Debug)]
pub enum Named {
    /// By its host, at which the rest of the API is served too.
    ByHost(Callee),
    /// By the beginning of its path, below which nothing but inference is served.
    ByPath(Callee),
}

impl Named {
    pub fn callee(&self) -> &Callee {
        match self {
            Named::ByHost(callee) | Named::ByPath(callee) => callee,
        }
    }
}

/// The label of the host at which Model APIs are called, and the first segment of their paths.
const INFERENCE_HOST: &str = "inference";

/// The model or the Chain that a request is for, and the path of the request there. `host` is the host that the request
/// was sent to. The public host of this server names neither, whatever it is called.
pub fn callee(host: &BaseUrl, public: Option<&BaseUrl>, path: Vec<String>) -> (Option<Named>, Vec<String>) {
    let is_of_its_own = public.is_none_or(|public| public.authority() != host.authority());
    if is_of_its_own && let Some(callee) = Callee::of_label(host.label()) {
        return (Some(Named::ByHost(callee)), path);
    }
    if is_of_its_own && host.label() == INFERENCE_HOST {
        return (None, std::iter::once(INFERENCE_HOST.to_owned()).chain(path).collect());
    }
    match Callee::of_path(&path) {
        Some((callee, rest)) => (Some(Named::ByPath(callee)), rest.to_vec()),
        None => (None, path),
    }
}
