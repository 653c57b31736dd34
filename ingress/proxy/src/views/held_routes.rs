//! References to routes that one worker counts for itself.
//!
//! Requests of all workers use the same few routes. If each changed a route's shared count, four times a request, the count would move
//! between the caches of their cores.
//!
//! A route keeps its slot until a sweep finds it unused. With requests spread over many more routes than slots, a request of another
//! route then only counts that route itself; to take the slot over, it would drop the last reference of this thread to a route that no
//! cache holds any more.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use ingress_routes::Route;

/// How many routes a worker remembers at most.
const SLOTS: usize = 256;

/// A route that a worker holds.
#[derive(Debug)]
pub(crate) struct HeldRoute(Arc<Route>);

impl Deref for HeldRoute {
    type Target = Arc<Route>;

    fn deref(&self) -> &Arc<Route> {
        &self.0
    }
}

/// The routes that a worker has used last, by their addresses.
pub(crate) struct HeldRoutes(RefCell<Vec<Option<Rc<HeldRoute>>>>);

impl Default for HeldRoutes {
    fn default() -> Self {
        Self(RefCell::new(vec![None; SLOTS]))
    }
}

impl HeldRoutes {
    /// A reference to a route. Hot: no locked instruction and no allocation for a route that is remembered, one allocation for others.
    pub(crate) fn hold(&self, route: &Arc<Route>) -> Rc<HeldRoute> {
        // The lowest bits are the same for all routes.
        let slot = (Arc::as_ptr(route) as usize / align_of::<Route>()).wrapping_mul(0x9e37_79b9) >> 8;
        let held = &mut self.0.borrow_mut()[slot % SLOTS];
        match held {
            Some(known) if Arc::ptr_eq(known, route) => known.clone(),
            Some(_) => Rc::new(HeldRoute(route.clone())),
            None => held.insert(Rc::new(HeldRoute(route.clone()))).clone(),
        }
    }

    /// Forgets the routes that no request has, whether they are still served or not: the slots of several workers must not keep a route
    /// that is gone. Those in use are remembered again at their next request.
    pub(crate) fn sweep(&self) {
        for held in &mut *self.0.borrow_mut() {
            if held.as_ref().is_some_and(|held| Rc::strong_count(held) == 1) {
                *held = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Projection, Snapshot};
    use ingress_routes::{RouteIndex, RouteOptions};

    use super::*;

    #[test]
    fn a_route_is_remembered_until_nothing_else_has_it() {
        let table = RouteIndex::new(RouteOptions::default()).build(&Snapshot::default());
        let route = table.find("shop.example", "/").route().clone();
        drop(table);
        let (routes, weak) = (HeldRoutes::default(), Arc::downgrade(&route));
        let other_worker = HeldRoutes::default();
        drop(other_worker.hold(&route));
        let (one, other) = (routes.hold(&route), routes.hold(&route));
        assert_eq!(Arc::strong_count(&route), 3, "the requests of a worker share one count");
        drop((route, one));
        routes.sweep();
        other_worker.sweep();
        assert_eq!(weak.strong_count(), 1, "a request has it");
        drop(other);
        routes.sweep();
        assert_eq!(weak.strong_count(), 0);
    }
}
