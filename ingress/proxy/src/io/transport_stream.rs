//! A byte stream: TCP, or TLS over TCP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use crate::io::readable::Readable;

/// The byte stream of a client's connection.
pub(crate) type ClientStream = TransportStream<server::TlsStream<TcpStream>>;

/// The byte stream of a connection to an endpoint.
pub(crate) type UpstreamStream = TransportStream<client::TlsStream<TcpStream>>;

/// A byte stream, with TLS of type `T` or without.
#[derive(Debug)]
pub(crate) enum TransportStream<T> {
    Plain(TcpStream),
    /// Boxed, because it is large and connections without TLS do not need it.
    Tls(Box<T>),
}

impl<T: AsyncRead + Unpin> TransportStream<T> {
    /// Whether the stream may keep written bytes until it is flushed, and has an end of its own.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the peer has neither sent anything nor closed the stream. No system call for TCP if so.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Reading also consumes session tickets, which are not data.
            Self::Tls(stream) => {
                let mut buffer = ReadBuf::new(&mut byte);
                let stream = Pin::new(&mut **stream);
                stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
            }
        }
    }
}

impl<T> Readable for TransportStream<T> {
    fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.may_be_readable(),
            // Bytes may have been received and decrypted that were not read.
            Self::Tls(_) => true,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TransportStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TransportStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
