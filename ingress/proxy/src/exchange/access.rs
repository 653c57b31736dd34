//! The limit and access phases of a request.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingress_routes::plan::access::{AccessCheck, AccessStep, Services};
use ingress_routes::{DirectResponse, Exchange, FilterOutcome, Route};

use crate::client::connection::ClientConnection;
use crate::exchange::subrequest;

/// What rules may use.
struct WorkerServices;

impl Services for WorkerServices {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Runs both phases. `Some` answers the request.
pub(crate) async fn check(
    client: &Rc<ClientConnection>,
    route: &Route,
    exchange: &mut Exchange,
) -> Option<DirectResponse> {
    let services = WorkerServices;
    for limit in &route.plan.limits {
        if let FilterOutcome::Respond(response) = limit.enter(exchange, &services) {
            return Some(response);
        }
    }
    let access = &route.plan.access;
    let mut check = AccessCheck::default();
    let mut step = check.run(access, exchange, &services);
    loop {
        step = match step {
            AccessStep::Pass => return None,
            AccessStep::Respond(response) => return Some(response),
            AccessStep::Fetch(request) => {
                let response = subrequest::fetch(&client.worker, route.upstream_name(), &request).await;
                check.resume(access, exchange, &services, &response)
            }
        };
    }
}
