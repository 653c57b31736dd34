//! Who may send requests, and how many: the access and limit phases.
//!
//! Rules read time and shared counters through [`Services`], so that they need neither a clock nor a lock of their own.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::filter::{DirectResponse, FilterOutcome};
use super::password_check::{PasswordCheck, RememberedPassword};
use super::subrequest::{Subrequest, SubrequestResponse};
use crate::exchange::Exchange;

/// What rules may use besides the request. State that outlives a view is keyed by identity, so that a swap of the table resets
/// nothing.
pub trait Services {
    /// The time since the Unix epoch.
    fn now(&self) -> Duration;

    /// The time of a clock that is never set back and that all workers share.
    fn uptime(&self) -> Duration {
        self.now()
    }

    /// The `X-Request-ID` that the endpoint gets; empty if there is none.
    fn request_id(&self) -> &[u8];

    /// Whether a password is the one that was verified for a hash. Otherwise it may still be right.
    fn remembers(&self, remembered: &RememberedPassword, password: &[u8]) -> bool {
        let _ = (remembered, password);
        false
    }

    /// The response of an earlier subrequest with this key of a [`CacheRule`](super::subrequest_cache::CacheRule), if it may be used now.
    /// A rule whose subrequest is logged gets none: the proxy looks for it after [`AccessOutcome::Fetch`].
    fn cached(&self, key: &str) -> Option<Arc<SubrequestResponse>> {
        let _ = key;
        None
    }
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
    fn resume(&self, exchange: &mut Exchange, response: &Arc<SubrequestResponse>) -> AccessOutcome {
        let _ = (exchange, response);
        AccessOutcome::Refuse(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Decides after the [`PasswordCheck`] that [`AccessRule::check`] asked for.
    fn verified(&self, exchange: &mut Exchange, is_valid: bool) -> AccessOutcome {
        let _ = (exchange, is_valid);
        AccessOutcome::Refuse(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// The response to clients that would get 401, where a route has another one.
pub trait SignIn: Send + Sync + Debug {
    /// The response.
    fn respond(&self, exchange: &Exchange) -> DirectResponse;
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
    /// The rule decides after this check, which would block the worker for too long.
    Verify(Box<PasswordCheck>),
}

/// The access rules of a route and how they are combined.
#[derive(Debug, Default)]
pub struct AccessRules {
    /// `satisfy: any`: one rule that allows a request is enough.
    pub any: bool,
    /// The rules, in nginx's order: addresses, passwords, external authentication.
    pub rules: Vec<Box<dyn AccessRule>>,
    /// Replaces 401, whichever rule refuses (nginx's `error_page 401`).
    pub sign_in: Option<Box<dyn SignIn>>,
}

/// The state of the access phase of one request. The proxy runs it and makes the subrequests.
#[derive(Debug, Default)]
pub struct AccessCheck {
    /// The rule whose turn it is.
    next: usize,
    /// With `any`: the refusal so far. As in nginx, 401 replaces 403, and has the challenges of all rules that refused with 401.
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
    /// The proxy makes this check and calls [`AccessCheck::verified`].
    Verify(Box<PasswordCheck>),
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
            if let Some(step) = self.decide(access, exchange, outcome) {
                return step;
            }
        }
        self.refusal.take().map_or(AccessStep::Pass, |response| refuse(access, exchange, response))
    }

    /// Goes on after a subrequest.
    pub fn resume(
        &mut self,
        access: &AccessRules,
        exchange: &mut Exchange,
        services: &dyn Services,
        response: &Arc<SubrequestResponse>,
    ) -> AccessStep {
        if let Some(rule) = access.rules.get(self.next) {
            let outcome = rule.resume(exchange, response);
            if let Some(step) = self.decide(access, exchange, outcome) {
                return step;
            }
        }
        self.run(access, exchange, services)
    }

    /// Goes on after a check of a password.
    pub fn verified(
        &mut self,
        access: &AccessRules,
        exchange: &mut Exchange,
        services: &dyn Services,
        is_valid: bool,
    ) -> AccessStep {
        if let Some(rule) = access.rules.get(self.next) {
            let outcome = rule.verified(exchange, is_valid);
            if let Some(step) = self.decide(access, exchange, outcome) {
                return step;
            }
        }
        self.run(access, exchange, services)
    }

    /// `None`: the next rule decides.
    fn decide(
        &mut self,
        access: &AccessRules,
        exchange: &Exchange,
        outcome: AccessOutcome,
    ) -> Option<AccessStep> {
        let outcome = match outcome {
            AccessOutcome::Fetch(subrequest) => return Some(AccessStep::Fetch(subrequest)),
            AccessOutcome::Verify(check) => return Some(AccessStep::Verify(check)),
            outcome => outcome,
        };
        self.next += 1;
        match outcome {
            AccessOutcome::Allow if access.any => Some(AccessStep::Pass),
            AccessOutcome::Refuse(response) if access.any && is_refusal(response.status) => {
                self.refusal = Some(match self.refusal.take() {
                    None => response,
                    Some(earlier) => combined(earlier, response),
                });
                None
            }
            AccessOutcome::Refuse(response) => Some(refuse(access, exchange, response)),
            _ => None,
        }
    }
}

/// The response after two rules refused a request under `satisfy any`.
fn combined(earlier: DirectResponse, later: DirectResponse) -> DirectResponse {
    match (earlier.status, later.status) {
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED) => {
            let challenges = later.fields.into_iter().filter(|(name, _)| *name == WWW_AUTHENTICATE);
            challenges.fold(earlier, |response, (name, value)| response.with(name, value))
        }
        (_, StatusCode::UNAUTHORIZED) => later,
        _ => earlier,
    }
}

/// The response to a refused request.
fn refuse(access: &AccessRules, exchange: &Exchange, response: DirectResponse) -> AccessStep {
    AccessStep::Respond(match &access.sign_in {
        Some(sign_in) if response.status == StatusCode::UNAUTHORIZED => sign_in.respond(exchange),
        _ => response,
    })
}

/// Whether another rule may still allow the request under `satisfy any`; errors are final.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::exchange::tests::get;
    use crate::password::PasswordHash;
    use crate::testing::FixedServices;

    /// Answers with a status; 200 allows, 0 has no opinion, 1 asks another server, whose status decides, 2 checks a password.
    #[derive(Debug)]
    struct Fixed(u16);

    /// Refuses with 401 and a challenge, if there is one.
    #[derive(Debug)]
    struct Challenger(Option<&'static str>);

    impl AccessRule for Challenger {
        fn check(&self, _: &mut Exchange, _: &dyn Services) -> AccessOutcome {
            let challenge = self.0.map(HeaderValue::from_static);
            let response = DirectResponse::status(StatusCode::UNAUTHORIZED);
            AccessOutcome::Refuse(
                challenge
                    .into_iter()
                    .fold(response, |response, challenge| response.with(WWW_AUTHENTICATE, challenge)),
            )
        }
    }

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
                2 => {
                    let hash = Arc::new(PasswordHash::parse("{PLAIN}secret").unwrap());
                    AccessOutcome::Verify(Box::new(PasswordCheck::new("ann", hash, b"secret".to_vec())))
                }
                status => outcome(status),
            }
        }

        fn verified(&self, _: &mut Exchange, is_valid: bool) -> AccessOutcome {
            outcome(if is_valid { 200 } else { 401 })
        }

        fn resume(&self, _: &mut Exchange, response: &Arc<SubrequestResponse>) -> AccessOutcome {
            outcome(response.status.as_u16())
        }
    }

    /// A page to sign in.
    #[derive(Debug)]
    struct Page;

    impl SignIn for Page {
        fn respond(&self, _: &Exchange) -> DirectResponse {
            DirectResponse::status(StatusCode::FOUND)
        }
    }

    /// The status of the decision; 200 if the request may pass. `fetched` is the status of the other server, and whether the
    /// password is valid.
    fn decide(any: bool, rules: &[u16], fetched: u16, sign_in: Option<Box<dyn SignIn>>) -> u16 {
        let rules = rules.iter().map(|status| Box::new(Fixed(*status)) as Box<dyn AccessRule>);
        let access = AccessRules { any, rules: rules.collect(), sign_in };
        let mut exchange = get("a.example/", &[]);
        let mut check = AccessCheck::default();
        let mut step = check.run(&access, &mut exchange, &FixedServices);
        loop {
            step = match step {
                AccessStep::Pass => return 200,
                AccessStep::Respond(response) => return response.status.as_u16(),
                AccessStep::Fetch(_) => {
                    let response =
                        Arc::new(SubrequestResponse::status(StatusCode::from_u16(fetched).unwrap()));
                    check.resume(&access, &mut exchange, &FixedServices, &response)
                }
                AccessStep::Verify(password) => {
                    let is_valid = fetched == 200 && password.verify();
                    check.verified(&access, &mut exchange, &FixedServices, is_valid)
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
            (false, &[2, 1], 200, 200),
            (false, &[2, 1], 401, 401),
            (true, &[403, 2, 403], 200, 200),
            (true, &[403, 2, 403], 401, 401),
        ] {
            assert_eq!(decide(any, rules, fetched, None), status, "any: {any}, {rules:?}, {fetched}");
        }
    }

    #[test]
    fn with_any_a_401_has_the_challenges_of_all_rules() {
        for (rules, wanted) in [
            (vec![Some("Basic"), None], "Basic"),
            (vec![None, Some("Bearer")], "Bearer"),
            (vec![Some("Basic"), Some("Bearer")], "Basic, Bearer"),
        ] {
            let challengers = rules.iter().map(|it| Box::new(Challenger(*it)) as Box<dyn AccessRule>);
            let access = AccessRules { any: true, rules: challengers.collect(), sign_in: None };
            let step = AccessCheck::default().run(&access, &mut get("a.example/", &[]), &FixedServices);
            let AccessStep::Respond(response) = step else { panic!("{rules:?}: {step:?}") };
            let challenges: Vec<_> =
                response.fields.iter().map(|(_, value)| value.to_str().unwrap()).collect();
            assert_eq!(challenges.join(", "), wanted, "{rules:?}");
        }
    }

    #[test]
    fn a_page_to_sign_in_replaces_401_only() {
        for (any, rules, status) in [
            (false, &[401, 403][..], 302),
            (false, &[403, 401], 403),
            (false, &[500], 500),
            (false, &[200, 0], 200),
            (true, &[403, 401], 302),
            (true, &[401, 403], 302),
            (true, &[401, 200], 200),
            (true, &[403, 403], 403),
        ] {
            assert_eq!(decide(any, rules, 0, Some(Box::new(Page))), status, "any: {any}, {rules:?}");
        }
    }
}
