//! How the operator's commands ask: over the socket of a running server, or here, where none runs.
//!
//! Both go the one way of every request and differ in nothing but the door.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

use crate::db::Moment;
use crate::http::{self, App, Door, Reply, Request, S3Hosts};
use crate::model::Site;

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
    /// It broke off: what was asked may have been done.
    BrokenOff(String),
}

/// Asks an app of this process.
pub fn ask_here(app: &Arc<App>, moment: Moment, path: &str, body: &[u8]) -> std::io::Result<Answered> {
    let request = Request {
        method: "POST".to_owned(),
        site: Site::of_host("localhost").expect("it is a host"),
        s3_hosts: S3Hosts::default(),
        is_for_model: false,
        path: path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
        query: Vec::new(),
        authorization: None,
        user_agent: None,
        content_type: Some("application/json".to_owned()),
        body: Bytes::copy_from_slice(body),
        from: Door::Operator,
        at: moment.now,
        seed: moment.seed,
        log: Arc::default(),
    };
    let Reply { status, body, .. } = runtime()?.block_on(http::answer(app, request));
    Ok(Answered { status, body })
}

/// Asks the server that listens on this socket.
pub fn ask_there(socket: &Path, path: &str, body: &[u8]) -> Result<Answered, Failure> {
    let runtime = runtime().map_err(Failure::NobodyThere)?;
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::connect(socket).await.map_err(Failure::NobodyThere)?;
        send(socket, path, body).await.map_err(|cause| Failure::BrokenOff(cause.to_string()))
    })
}

async fn send(socket: tokio::net::UnixStream, path: &str, body: &[u8]) -> Result<Answered, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = hyper::Request::post(path)
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
