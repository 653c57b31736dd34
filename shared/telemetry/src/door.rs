//! What stands before the pages of an address: TLS, passwords, headers that every response gets.
//!
//! Doors come and go as pages do: a later one covers an earlier one until it goes. Connections that came in by a door
//! that is covered or gone finish what they are at and close, so that nobody stays in by a way that is shut.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Asked};

/// A boxed future, as a [`Door`] gives it.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection that has come in.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What stands before the pages of an address.
pub trait Door: Send + Sync {
    /// Takes a connection in, by a TLS handshake for one. After an error it is closed, and nobody else is harmed.
    fn enter(&self, stream: TcpStream) -> Later<'_, io::Result<Box<dyn Stream>>>;

    /// Looks at a request before a page does.
    fn admit<'a>(&'a self, asked: &'a Asked) -> Later<'a, Admission>;
}

/// What a [`Door`] says to a request.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Headers of the response, whoever answers.
    pub headers: HeaderMap,
    /// The answer in place of the page's.
    pub instead: Option<Answer>,
}

/// The doors of one address.
pub(crate) struct Doors {
    now: ArcSwap<Entrance>,
    /// All that stand, the one in use last.
    stack: Mutex<Vec<Arc<dyn Door>>>,
    closing: CancellationToken,
}

/// The way in at the moment.
pub(crate) struct Entrance {
    /// None where everybody may come in.
    pub(crate) door: Option<Arc<dyn Door>>,
    /// Cancelled when those who came in this way are to leave.
    pub(crate) shut: CancellationToken,
}

impl Doors {
    /// None; whoever comes in leaves when `closing` is cancelled.
    pub(crate) fn none(closing: &CancellationToken) -> Self {
        let open = Entrance { door: None, shut: closing.child_token() };
        Self { now: ArcSwap::from_pointee(open), stack: Mutex::default(), closing: closing.clone() }
    }

    /// The way in now.
    pub(crate) fn now(&self) -> Arc<Entrance> {
        self.now.load_full()
    }

    pub(crate) fn add(&self, door: Arc<dyn Door>) {
        self.change(|stack| stack.push(door));
    }

    pub(crate) fn remove(&self, door: &Arc<dyn Door>) {
        self.change(|stack| stack.retain(|known| !Arc::ptr_eq(known, door)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn Door>>)) {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stack);
        let now = self.now.load();
        let same = match (stack.last(), &now.door) {
            (Some(last), Some(door)) => Arc::ptr_eq(last, door),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let shut = self.closing.child_token();
            let before = self.now.swap(Arc::new(Entrance { door: stack.last().cloned(), shut }));
            before.shut.cancel();
        }
    }
}
