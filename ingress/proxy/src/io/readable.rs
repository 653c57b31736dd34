//! Whether a stream has become readable.

use tokio::io::Interest;
use tokio::net::TcpStream;

/// A stream that can tell whether another read is worth while.
pub(crate) trait Readable {
    /// False if nothing has arrived since a read was pending, which still wakes the task that has polled it. Hot: no system call, and a fifth of
    /// the instructions of a read.
    fn may_be_readable(&self) -> bool;
}

impl Readable for TcpStream {
    fn may_be_readable(&self) -> bool {
        self.try_io(Interest::READABLE, || Ok(())).is_ok()
    }
}

#[cfg(test)]
impl Readable for tokio::io::DuplexStream {
    fn may_be_readable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_stream_is_readable_from_the_arrival_of_bytes_until_a_read_is_pending() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let read = |near: &mut TcpStream| {
            let mut space = [0; 16];
            let cx = &mut Context::from_waker(Waker::noop());
            Pin::new(near).poll_read(cx, &mut ReadBuf::new(&mut space)).is_ready()
        };
        assert!(!read(&mut near));
        assert!(!near.may_be_readable());
        peer.write_all(b"a").await.unwrap();
        near.readable().await.unwrap();
        assert!(near.may_be_readable());
        assert!(read(&mut near));
        assert!(!read(&mut near));
        assert!(!near.may_be_readable());
        drop(peer);
        near.readable().await.unwrap();
        assert!(near.may_be_readable(), "the end is read, too");
    }
}
