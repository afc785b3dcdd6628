//! The minimal server: hyper, one current-thread runtime per core, and a constant reply of the same size.

use std::convert::Infallible;
use std::net::TcpListener;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// The word that makes this program the bare server.
pub const WORD: &str = "serve-hello";
const BODY: &[u8] = &[b'x'; 1170];

pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("http://{}", listener.local_addr().expect("it is bound"));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..cores).map(|_| worker()).collect();
    for (turn, socket) in listener.incoming().flatten().enumerate() {
        let _ = workers[turn % cores].send(socket);
    }
}

fn worker() -> tokio::sync::mpsc::UnboundedSender<std::net::TcpStream> {
    let (give, mut take) = tokio::sync::mpsc::unbounded_channel::<std::net::TcpStream>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            while let Some(socket) = take.recv().await {
                socket.set_nonblocking(true).expect("a socket can be made non-blocking");
                socket.set_nodelay(true).expect("a socket can be made undelayed");
                let socket = tokio::net::TcpStream::from_std(socket).expect("inside the runtime");
                tokio::task::spawn_local(
                    http1::Builder::new().writev(false).serve_connection(TokioIo::new(socket), service_fn(answer)),
                );
            }
        });
    });
    give
}

async fn answer(_: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(BODY))))
}
