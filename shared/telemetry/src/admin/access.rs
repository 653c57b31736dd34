//! What stands before the pages of an address: TLS, passwords, headers that every response gets.
//!
//! Doors come and go as pages do: a later one covers an earlier one until it goes. Connections that came in by a policy
//! that is covered or gone finish what they are at and close, so that nobody stays in by a way that is shut.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::admin::message::{AdminRequest, AdminResponse};

/// A boxed future, as a [`AccessPolicy`] gives it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection that has come in.
pub trait AdminStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> AdminStream for S {}

/// What stands before the pages of an address.
pub trait AccessPolicy: Send + Sync {
    /// Takes a connection in, by a TLS handshake for one. After an error it is closed, and nobody else is harmed.
    fn accept(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<Box<dyn AdminStream>>>;

    /// Looks at a request before a page does.
    fn authorize<'a>(&'a self, asked: &'a AdminRequest) -> BoxFuture<'a, AccessDecision>;
}

/// What a [`AccessPolicy`] says to a request.
#[derive(Clone, Debug, Default)]
pub struct AccessDecision {
    /// Headers of the response, whoever answers.
    pub headers: HeaderMap,
    /// The answer in place of the page's.
    pub response: Option<AdminResponse>,
}

/// The policies of one address.
pub(crate) struct PolicyStack {
    now: ArcSwap<ActivePolicy>,
    /// All that stand, the one in use last.
    stack: Mutex<Vec<Arc<dyn AccessPolicy>>>,
    closing: CancellationToken,
}

/// The way in at the moment.
pub(crate) struct ActivePolicy {
    /// None where everybody may come in.
    pub(crate) policy: Option<Arc<dyn AccessPolicy>>,
    /// Cancelled when those who came in this way are to leave.
    pub(crate) shut: CancellationToken,
}

impl PolicyStack {
    /// None; whoever comes in leaves when `closing` is cancelled.
    pub(crate) fn none(closing: &CancellationToken) -> Self {
        let open = ActivePolicy { policy: None, shut: closing.child_token() };
        Self { now: ArcSwap::from_pointee(open), stack: Mutex::default(), closing: closing.clone() }
    }

    /// The way in now.
    pub(crate) fn now(&self) -> Arc<ActivePolicy> {
        self.now.load_full()
    }

    pub(crate) fn add(&self, policy: Arc<dyn AccessPolicy>) {
        self.change(|stack| stack.push(policy));
    }

    pub(crate) fn remove(&self, policy: &Arc<dyn AccessPolicy>) {
        self.change(|stack| stack.retain(|known| !Arc::ptr_eq(known, policy)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn AccessPolicy>>)) {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stack);
        let now = self.now.load();
        let same = match (stack.last(), &now.policy) {
            (Some(last), Some(policy)) => Arc::ptr_eq(last, policy),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let shut = self.closing.child_token();
            let before = self.now.swap(Arc::new(ActivePolicy { policy: stack.last().cloned(), shut }));
            before.shut.cancel();
        }
    }
}
