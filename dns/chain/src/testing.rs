//! Parts of tests.

use dns_wire::{Name, Query};
use futures_util::future::BoxFuture;

use crate::plugin::{Answer, Runner};
use crate::request::Request;

/// Resolves nothing.
pub(crate) struct NoRunner;

impl Runner for NoRunner {
    fn query_below<'a>(&'a self, _: &'a mut Request, _: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn resolve<'a>(
        &'a self,
        _: &'a Request,
        _: &'a Name,
        _: u16,
        _: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>> {
        Box::pin(std::future::ready(None))
    }
}
