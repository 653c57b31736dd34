//! HTTP on a byte stream: HTTP/1 or HTTP/2.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::Poll;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::client::connection::ClientConnection;
use crate::client::connection_state::ConnectionState;
use crate::client::stream::ClientStream;
use crate::client::{http1, http2};
use crate::io::boxed::boxed;
use crate::io::buffers::ChargedBytes;

/// Serves a connection until it ends. `h2` is what ALPN agreed on; without TLS the first bytes decide.
pub(crate) async fn serve<S, H, B>(
    mut client: ClientConnection,
    stream: S,
    h2: Option<bool>,
    handler: impl FnOnce(Rc<ClientConnection>) -> H,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    H::Future: 'static,
    B: Body<Data = ChargedBytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let worker = client.worker.clone();
    let options = &worker.options;
    let reading = worker.connections.reading.clone();
    let state = ConnectionState::new(
        client.entry.clone(),
        worker.clock.clone(),
        options.client_header_timeout,
        options.client_send_timeout,
        reading,
    );
    let mut io = ClientStream::new(stream, state.clone());
    let h2 = match h2 {
        Some(h2) => h2,
        None if !options.http2 => false,
        None => {
            let first = std::future::poll_fn(|cx| match io.poll_is_h2(cx) {
                Poll::Ready(result) => Poll::Ready(result.ok()),
                Poll::Pending => {
                    if worker.is_stopping() {
                        state.stop();
                    }
                    if state.timer.poll_expired(cx) { Poll::Ready(None) } else { Poll::Pending }
                }
            });
            let Some(h2) = first.await else { return };
            h2
        }
    };
    if h2 {
        io.pass_all();
        let client = Rc::new(client);
        return boxed(|| http2::serve(client.clone(), io, &state, handler(client))).await;
    }
    client.state = Some(state.clone());
    let client = Rc::new(client);
    boxed(|| http1::serve(client.clone(), io, &state, handler(client))).await;
}
