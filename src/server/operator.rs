//! How the operator's commands send a request: to an app of this process, or over the socket of a running server.
//!
//! Both take the path of every request and differ only in the listener.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

use crate::api::operator::{Mode, query};
use crate::api::{App, Listener, Reply, Request, S3Hosts, dispatch};
use crate::db::Now;
use crate::domain::BaseUrl;

/// What a command asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'static str,
    /// The path; what is not of its syntax is percent-encoded.
    pub path: &'a str,
    pub body: &'a [u8],
}

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody listens: nothing was sent.
    NobodyThere(std::io::Error),
    /// The exchange broke off: the request may have been carried out.
    BrokenOff(String),
}

/// Posts a body to an app of this process.
pub fn send_here(app: &Arc<App>, now: Now, mode: Mode, path: &str, body: &[u8]) -> std::io::Result<Answered> {
    ask_here(app, now, mode, &Asked { method: "POST", path, body })
}

/// Sends a request to an app of this process.
pub fn ask_here(app: &Arc<App>, now: Now, mode: Mode, asked: &Asked) -> std::io::Result<Answered> {
    let request = Request {
        method: asked.method.to_owned(),
        // Nobody listens here yet: links lead to where a server listens by default.
        base_url: app
            .reverse_proxy
            .public
            .clone()
            .unwrap_or_else(|| BaseUrl::of_host("localhost:8000").expect("it is a host")),
        s3_hosts: S3Hosts::default(),
        callee: None,
        path: asked.path.trim_start_matches('/').split('/').map(decoded).collect(),
        query: query(now, mode),
        authorization: None,
        user_agent: None,
        content_type: Some("application/json".to_owned()),
        mailing: app.mailing(),
        body: Bytes::copy_from_slice(asked.body),
        browser: Default::default(),
        from: Listener::Operator,
        at: now.time,
        seed: now.seed,
        log: Arc::default(),
    };
    let Reply { status, body, .. } = runtime()?.block_on(dispatch::answer(app, request));
    Ok(Answered { status, body })
}

/// Sends a request to the server that listens on this socket.
pub fn ask_there(socket: &Path, now: Now, mode: Mode, asked: &Asked) -> Result<Answered, Failure> {
    let query = query(now, mode).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let runtime = runtime().map_err(Failure::NobodyThere)?;
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::connect(socket).await.map_err(Failure::NobodyThere)?;
        send(socket, asked, &query).await.map_err(|cause| Failure::BrokenOff(cause.to_string()))
    })
}

async fn send(socket: tokio::net::UnixStream, asked: &Asked<'_>, query: &str) -> Result<Answered, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = hyper::Request::builder()
        .method(asked.method)
        .uri(format!("{}?{query}", asked.path))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(asked.body)))
        .expect("a path and headers of ours");
    tokio::spawn(connection); // what goes wrong with it, the exchange is told
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok(Answered { status, body: response.into_body().collect().await?.to_bytes().to_vec() })
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
