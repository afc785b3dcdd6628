//! Connections to servers elsewhere, which a tenant or the operator names by a URL.
//!
//! A host is resolved once, its addresses are judged, and the connection goes to one of those: a name that resolves
//! differently the next time leads nowhere else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::domain::remote_url::{PlainHttp, RemoteUrl};

/// How long resolving the name, connecting and the TLS handshake may take together.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to a server elsewhere.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to the host of a URL.
///
/// # Errors
///
/// `PermissionDenied` if every address of the host is one that this server never connects to, and otherwise the failure
/// of resolving, connecting or the handshake.
pub(super) async fn connect(url: &RemoteUrl, plain: PlainHttp) -> io::Result<Stream> {
    let connecting = async {
        let stream = connect_to_one(url, plain).await?;
        let _ = stream.set_nodelay(true);
        if !url.is_https() {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&TRUST));
        Ok(Stream::Tls(Box::new(connector.connect(name, stream).await?)))
    };
    tokio::time::timeout(CONNECT, connecting).await?
}

async fn connect_to_one(url: &RemoteUrl, plain: PlainHttp) -> io::Result<TcpStream> {
    let resolved = tokio::net::lookup_host((url.host(), url.port())).await?;
    let allowed: Vec<SocketAddr> = resolved.filter(|address| url.may_connect_to(address.ip(), plain)).collect();
    let mut failure = io::Error::from(io::ErrorKind::PermissionDenied);
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => failure = cause,
        }
    }
    Err(failure)
}

/// The certificates that are trusted: those of this machine, or a list of our own where the machine has none.
static TRUST: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
