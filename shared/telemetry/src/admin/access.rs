//! Access control of an admin listener: TLS, passwords, headers of every response.
//!
//! The latest policy applies; when it is dropped, the previous one applies again. A connection is closed, after the request in
//! flight, when the policy that it was accepted under no longer applies.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::admin_message::{AdminRequest, AdminResponse};

/// A boxed future, as an [`AccessPolicy`] returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An accepted connection.
pub trait AdminStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> AdminStream for S {}

/// Decides which connections and requests of an admin listener are served.
pub trait AccessPolicy: Send + Sync {
    /// Prepares a connection, for example with a TLS handshake. On an error the connection is closed; others are not affected.
    fn accept(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<Box<dyn AdminStream>>>;

    /// Checks a request before its page is made.
    fn authorize<'a>(&'a self, request: &'a AdminRequest) -> BoxFuture<'a, AccessDecision>;
}

/// The decision of an [`AccessPolicy`] about a request.
#[derive(Clone, Debug, Default)]
pub struct AccessDecision {
    /// Headers added to the response, both to that of the page and to `response`.
    pub headers: HeaderMap,
    /// The response to send instead of the page; `None` serves the page.
    pub response: Option<AdminResponse>,
}

/// The policies of one listener.
pub(super) struct PolicyStack {
    active: ArcSwap<ActivePolicy>,
    /// All policies; the last one applies.
    policies: Mutex<Vec<Arc<dyn AccessPolicy>>>,
    closing: CancellationToken,
}

/// The policy of new connections.
pub(super) struct ActivePolicy {
    /// `None` if every connection is served.
    pub(super) policy: Option<Arc<dyn AccessPolicy>>,
    /// Cancelled when connections accepted under this policy must close.
    pub(super) superseded: CancellationToken,
}

impl PolicyStack {
    /// Creates a stack without a policy. All connections close when `closing` is cancelled.
    pub(super) fn new(closing: &CancellationToken) -> Self {
        let open = ActivePolicy { policy: None, superseded: closing.child_token() };
        Self { active: ArcSwap::from_pointee(open), policies: Mutex::default(), closing: closing.clone() }
    }

    pub(super) fn now(&self) -> Arc<ActivePolicy> {
        self.active.load_full()
    }

    pub(super) fn add(&self, policy: Arc<dyn AccessPolicy>) {
        self.change(|policies| policies.push(policy));
    }

    pub(super) fn remove(&self, policy: &Arc<dyn AccessPolicy>) {
        self.change(|policies| policies.retain(|known| !Arc::ptr_eq(known, policy)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn AccessPolicy>>)) {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut policies);
        let active = self.active.load();
        let same = match (policies.last(), &active.policy) {
            (Some(last), Some(policy)) => Arc::ptr_eq(last, policy),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let superseded = self.closing.child_token();
            let before =
                self.active.swap(Arc::new(ActivePolicy { policy: policies.last().cloned(), superseded }));
            before.superseded.cancel();
        }
    }
}
