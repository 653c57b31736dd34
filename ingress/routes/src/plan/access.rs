//! Who may send requests, and how many: the access and limit phases.
//!
//! Rules read time and shared counters through [`Services`], so that they need neither a clock nor a lock of their own.

use std::fmt::Debug;
use std::time::Duration;

use http::StatusCode;

use super::filter::{DirectResponse, FilterOutcome};
use super::subrequest::{Subrequest, SubrequestResponse};
use crate::exchange::Exchange;

/// What rules may use besides the request. State that outlives a view is keyed by identity, so that a swap of the table resets
/// nothing.
pub trait Services {
    /// The time since the Unix epoch.
    fn now(&self) -> Duration;
}

/// A limit on the rate or number of requests.
pub trait LimitRule: Send + Sync + Debug {
    /// Counts the request, and answers it if it is over the limit. Guards that must live as long as the request are kept in the
    /// exchange.
    fn enter(&self, exchange: &mut Exchange, services: &dyn Services) -> FilterOutcome;
}

/// A rule of the access phase.
pub trait AccessRule: Send + Sync + Debug {
    /// Decides about a request, or asks another server.
    fn check(&self, exchange: &mut Exchange, services: &dyn Services) -> AccessOutcome;

    /// Decides after the response to the [`Subrequest`] that [`AccessRule::check`] asked for.
    fn resume(&self, exchange: &mut Exchange, response: &SubrequestResponse) -> AccessOutcome {
        let _ = (exchange, response);
        AccessOutcome::Refuse(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// The decision of a rule.
#[derive(Debug, PartialEq)]
pub enum AccessOutcome {
    /// The rule has nothing to say about the request.
    NoOpinion,
    /// The request may pass.
    Allow,
    /// The response instead.
    Refuse(DirectResponse),
    /// The rule decides after this request to another server.
    Fetch(Box<Subrequest>),
}

/// The access rules of a route and how they are combined.
#[derive(Debug, Default)]
pub struct AccessRules {
    /// `satisfy: any`: one rule that allows a request is enough.
    pub any: bool,
    /// The rules, in nginx's order: addresses, passwords, external authentication.
    pub rules: Vec<Box<dyn AccessRule>>,
}

/// The state of the access phase of one request. The proxy runs it and makes the subrequests.
#[derive(Debug, Default)]
pub struct AccessCheck {
    /// The rule whose turn it is.
    next: usize,
    /// With `any`: the refusal so far. As in nginx, 401 replaces 403.
    refusal: Option<DirectResponse>,
}

/// How the access phase goes on.
#[derive(Debug, PartialEq)]
pub enum AccessStep {
    /// The request may pass.
    Pass,
    /// It is answered.
    Respond(DirectResponse),
    /// The proxy makes this request and calls [`AccessCheck::resume`].
    Fetch(Box<Subrequest>),
}

impl AccessCheck {
    /// Runs the rules until one asks for a subrequest or the decision is made.
    pub fn run(
        &mut self,
        access: &AccessRules,
        exchange: &mut Exchange,
        services: &dyn Services,
    ) -> AccessStep {
        while let Some(rule) = access.rules.get(self.next) {
            let outcome = rule.check(exchange, services);
            if let Some(step) = self.decide(access, outcome) {
                return step;
            }
        }
        self.refusal.take().map_or(AccessStep::Pass, AccessStep::Respond)
    }

    /// Goes on after a subrequest.
    pub fn resume(
        &mut self,
        access: &AccessRules,
        exchange: &mut Exchange,
        services: &dyn Services,
        response: &SubrequestResponse,
    ) -> AccessStep {
        if let Some(rule) = access.rules.get(self.next) {
            let outcome = rule.resume(exchange, response);
            if let Some(step) = self.decide(access, outcome) {
                return step;
            }
        }
        self.run(access, exchange, services)
    }

    /// `None`: the next rule decides.
    fn decide(&mut self, access: &AccessRules, outcome: AccessOutcome) -> Option<AccessStep> {
        let outcome = match outcome {
            AccessOutcome::Fetch(subrequest) => return Some(AccessStep::Fetch(subrequest)),
            outcome => outcome,
        };
        self.next += 1;
        match outcome {
            AccessOutcome::Allow if access.any => Some(AccessStep::Pass),
            AccessOutcome::Refuse(response) if access.any && is_refusal(response.status) => {
                let is_stronger = response.status == StatusCode::UNAUTHORIZED;
                if is_stronger || self.refusal.is_none() {
                    self.refusal = Some(response);
                }
                None
            }
            AccessOutcome::Refuse(response) => Some(AccessStep::Respond(response)),
            _ => None,
        }
    }
}

/// Whether another rule may still allow the request under `satisfy any`; errors are final.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;
    use crate::testing::FixedServices;

    /// Answers with a status; 200 allows, 0 has no opinion, 1 asks another server, whose status decides.
    #[derive(Debug)]
    struct Fixed(u16);

    fn outcome(status: u16) -> AccessOutcome {
        match status {
            0 => AccessOutcome::NoOpinion,
            200 => AccessOutcome::Allow,
            status => AccessOutcome::Refuse(DirectResponse::status(StatusCode::from_u16(status).unwrap())),
        }
    }

    impl AccessRule for Fixed {
        fn check(&self, _: &mut Exchange, _: &dyn Services) -> AccessOutcome {
            match self.0 {
                1 => AccessOutcome::Fetch(Box::new(Subrequest::get("http://auth.example/".parse().unwrap()))),
                status => outcome(status),
            }
        }

        fn resume(&self, _: &mut Exchange, response: &SubrequestResponse) -> AccessOutcome {
            outcome(response.status.as_u16())
        }
    }

    /// The status of the decision; 200 if the request may pass. `fetched` is the status of the other server.
    fn decide(any: bool, rules: &[u16], fetched: u16) -> u16 {
        let rules = rules.iter().map(|status| Box::new(Fixed(*status)) as Box<dyn AccessRule>);
        let access = AccessRules { any, rules: rules.collect() };
        let mut exchange = get("a.example/", &[]);
        let mut check = AccessCheck::default();
        let mut step = check.run(&access, &mut exchange, &FixedServices);
        loop {
            step = match step {
                AccessStep::Pass => return 200,
                AccessStep::Respond(response) => return response.status.as_u16(),
                AccessStep::Fetch(_) => {
                    let response = SubrequestResponse::status(StatusCode::from_u16(fetched).unwrap());
                    check.resume(&access, &mut exchange, &FixedServices, &response)
                }
            };
        }
    }

    #[test]
    fn rules_are_combined_as_in_nginx() {
        for (any, rules, fetched, status) in [
            (false, &[][..], 0, 200),
            (false, &[0, 200], 0, 200),
            (false, &[200, 403], 0, 403),
            (false, &[403, 401], 0, 403),
            (false, &[200, 1, 200], 200, 200),
            (false, &[200, 1], 401, 401),
            (true, &[403, 200], 0, 200),
            (true, &[403, 401], 0, 401),
            (true, &[401, 403], 0, 401),
            (true, &[403, 1], 200, 200),
            (true, &[403, 1], 403, 403),
            (true, &[403, 500, 200], 0, 500),
            (true, &[0, 0], 0, 200),
        ] {
            assert_eq!(decide(any, rules, fetched), status, "any: {any}, {rules:?}, {fetched}");
        }
    }
}
