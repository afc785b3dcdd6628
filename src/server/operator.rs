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

/// Sends a request to an app of this process.
pub fn send_here(app: &Arc<App>, now: Now, mode: Mode, path: &str, body: &[u8]) -> std::io::Result<Answered> {
    let request = Request {
        method: "POST".to_owned(),
        // Nobody listens here yet: links lead to where a server listens by default.
        base_url: app
            .reverse_proxy
            .public
            .clone()
            .unwrap_or_else(|| BaseUrl::of_host("localhost:8000").expect("it is a host")),
        s3_hosts: S3Hosts::default(),
        is_for_model: false,
        path: path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
        query: query(now, mode),
        authorization: None,
        user_agent: None,
        content_type: Some("application/json".to_owned()),
        browser: Default::default(),
        body: Bytes::copy_from_slice(body),
        from: Listener::Operator,
        at: now.time,
        seed: now.seed,
        log: Arc::default(),
    };
    let Reply { status, body, .. } = runtime()?.block_on(dispatch::answer(app, request));
    Ok(Answered { status, body })
}

/// Sends a request to the server that listens on this socket.
pub fn send_to(socket: &Path, now: Now, mode: Mode, path: &str, body: &[u8]) -> Result<Answered, Failure> {
    let query = query(now, mode).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let runtime = runtime().map_err(Failure::NobodyThere)?;
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::connect(socket).await.map_err(Failure::NobodyThere)?;
        send(socket, &format!("{path}?{query}"), body).await.map_err(|cause| Failure::BrokenOff(cause.to_string()))
    })
}

async fn send(socket: tokio::net::UnixStream, target: &str, body: &[u8]) -> Result<Answered, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = hyper::Request::post(target)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a path and headers of ours");
    tokio::spawn(connection); // what goes wrong with it, the exchange is told
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok(Answered { status, body: response.into_body().collect().await?.to_bytes().to_vec() })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
