//! The limit and access phases of a request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use ingress_routes::plan::access::{AccessCheck, AccessStep, Services};
use ingress_routes::plan::password_check::RememberedPassword;
use ingress_routes::plan::phase::Phase;
use ingress_routes::plan::subrequest::{Subrequest, SubrequestResponse};
use ingress_routes::{DirectResponse, Exchange, FilterOutcome, RequestId, Route};

use crate::client::connection::ClientConnection;
use crate::exchange::subrequest;
use crate::observe::access_log::Attempt;
use crate::state::worker::Worker;

/// What rules may use. Hot: times are those of the worker's clock, which most rules do not read once more.
struct WorkerServices<'w> {
    worker: &'w Worker,
    request_id: RequestId,
}

impl Services for WorkerServices<'_> {
    fn now(&self) -> Duration {
        self.worker.clock.unix_now()
    }

    fn uptime(&self) -> Duration {
        self.worker.clock.instant().saturating_duration_since(self.worker.shared.started)
    }

    fn request_id(&self) -> &[u8] {
        self.request_id.as_bytes()
    }

    fn remembers(&self, remembered: &RememberedPassword, password: &[u8]) -> bool {
        self.worker.shared.passwords.remembers(remembered, password)
    }

    fn cached(&self, key: &str) -> Option<Arc<SubrequestResponse>> {
        if self.worker.settings().logs.has_auth_requests {
            return None;
        }
        self.worker.shared.subrequests.get(key, self.now())
    }
}

/// Runs both phases. `Some` answers the request, with the phase that made the response. `logged` gets the requests to authentication servers if they are logged
/// (`enable-auth-access-log`).
pub(crate) async fn check(
    client: &Rc<ClientConnection>,
    route: &Route,
    exchange: &mut Exchange,
    request_id: RequestId,
    logged: &mut Vec<Attempt>,
) -> Option<(Phase, DirectResponse)> {
    let services = WorkerServices { worker: &client.worker, request_id };
    for limit in &route.plan.limits {
        if let FilterOutcome::Respond(response) = limit.enter(exchange, &services) {
            return Some((Phase::Limits, *response));
        }
    }
    let access = &route.plan.access;
    let mut check = AccessCheck::default();
    let mut step = check.run(access, exchange, &services);
    loop {
        step = match step {
            AccessStep::Pass => return None,
            AccessStep::Respond(response) => return Some((Phase::Access, response)),
            AccessStep::Fetch(request) => {
                let started = client.worker.clock.instant();
                let (response, received) = fetch(client, route, &request, &services).await;
                if client.worker.settings().logs.has_auth_requests {
                    let status = response.status;
                    logged.push(Attempt { received, ..attempt(&client.worker, &request, status, started) });
                }
                check.resume(access, exchange, &services, &response)
            }
            AccessStep::Verify(password) => {
                let Some(is_valid) = client.worker.shared.passwords.verify(*password).await else {
                    return Some((Phase::Access, DirectResponse::status(StatusCode::SERVICE_UNAVAILABLE)));
                };
                check.verified(access, exchange, &services, is_valid)
            }
        };
    }
}

/// A subrequest for the access log.
fn attempt(worker: &Worker, request: &Subrequest, status: StatusCode, started: Instant) -> Attempt {
    let ended = worker.clock.instant().saturating_duration_since(started);
    Attempt {
        name: request.url.authority().map_or("", |authority| authority.as_str()).into(),
        follows_redirect: false,
        started,
        connected: None,
        header: Some(ended),
        ended: Some(ended),
        received: 0,
        status: Some(status),
    }
}

/// The response to a subrequest, possibly an earlier one, and the bytes of its body. The response has no body, which would take memory as
/// long as the request lasts.
async fn fetch(
    client: &ClientConnection,
    route: &Route,
    request: &Subrequest,
    services: &WorkerServices<'_>,
) -> (Arc<SubrequestResponse>, u64) {
    let worker = &client.worker;
    let cached = &worker.shared.subrequests;
    if let Some(rule) = &request.cache {
        if let Some(response) = cached.get(&rule.key, services.now()) {
            return (response, 0);
        }
        cached.count_miss();
    }
    let mut response = match subrequest::fetch(worker, route.upstream_name(), request).await {
        Ok(response) => response,
        Err(status) => return (Arc::new(SubrequestResponse::status(status)), 0),
    };
    let received = std::mem::take(&mut response.body).len() as u64;
    let response = Arc::new(response);
    if let Some(rule) = &request.cache {
        cached.insert(rule, &response, services.now());
    }
    (response, received)
}
