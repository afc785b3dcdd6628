//! The model: it answers a prediction with what it gets, and any other path with a short stream.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

/// Serves at this socket, in a thread of its own.
pub fn serve(socket: &Path) {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a free path");
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::UnixListener::from_std(listener).expect("inside the runtime");
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service_fn(answer)));
            }
        });
    });
}

enum Reply {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

async fn answer(request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
    let is_prediction = request.uri().path().ends_with(":predict");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(Response::new(if is_prediction { Reply::Whole(Some(body)) } else { stream() }))
}

/// Two pieces, the second some time after the first.
fn stream() -> Reply {
    let (give, take) = mpsc::channel(1);
    tokio::spawn(async move {
        let _ = give.send(Bytes::from_static(b"first")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = give.send(Bytes::from_static(b"second")).await;
    });
    Reply::Pieces(take)
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Reply::Whole(body) => Poll::Ready(body.take()),
            Reply::Pieces(pieces) => pieces.poll_recv(context),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Reply::Pieces(_) => SizeHint::default(),
        }
    }
}
