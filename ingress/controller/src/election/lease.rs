//! The Lease that the leader holds, and who may take it: client-go's rules.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What to do with the Lease after it was read.
#[derive(Debug, PartialEq)]
pub(crate) enum LeaseStep {
    /// Create it.
    Create(Value),
    /// Replace it: it is ours, free, or has expired.
    Replace(Value),
    /// Another process holds it.
    HeldBy(String),
}

/// The Lease as this process has seen it last.
#[derive(Debug)]
pub(crate) struct LeaseView {
    identity: String,
    ttl: Duration,
    namespace: String,
    name: String,
    /// The Lease as it was last seen, and when it last changed by the local clock. The timestamps in it are those of another clock.
    seen: Option<(Value, Instant)>,
}

impl LeaseView {
    pub(crate) fn new(identity: String, ttl: Duration, namespace: &str, name: &str) -> Self {
        Self { identity, ttl, namespace: namespace.to_owned(), name: name.to_owned(), seen: None }
    }

    /// Records the Lease as the API server has it now.
    pub(crate) fn observe(&mut self, lease: &Value, now: Instant) {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen["spec"] != lease["spec"]) {
            self.seen = Some((lease.clone(), now));
        } else if let Some((seen, _)) = &mut self.seen {
            // Another field, such as a label, may have changed; writing needs its version.
            *seen = lease.clone();
        }
    }

    /// Forgets the Lease: it does not exist.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether this process holds the Lease as far as it knows.
    pub(crate) fn is_held(&self) -> bool {
        self.seen.as_ref().is_some_and(|(seen, _)| holder(seen) == self.identity)
    }

    /// The next step, from what was last observed.
    pub(crate) fn step(&self, now: Instant, wall: Timestamp) -> LeaseStep {
        let Some((seen, changed)) = &self.seen else {
            return LeaseStep::Create(json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"namespace": self.namespace, "name": self.name},
                "spec": self.spec(wall, &time(wall).into(), 0),
            }));
        };
        let (holder, spec) = (holder(seen), &seen["spec"]);
        let is_ours = holder == self.identity;
        let valid_for = Duration::from_secs(spec["leaseDurationSeconds"].as_u64().unwrap_or_default());
        if !holder.is_empty() && !is_ours && *changed + valid_for > now {
            return LeaseStep::HeldBy(holder.to_owned());
        }
        let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default();
        let spec = match is_ours {
            true => self.spec(wall, &spec["acquireTime"], transitions),
            false => self.spec(wall, &time(wall).into(), transitions + 1),
        };
        LeaseStep::Replace(with_spec(seen, spec))
    }

    /// The Lease without a holder, so that another process need not wait until it expires.
    pub(crate) fn released(&self, wall: Timestamp) -> Option<Value> {
        let (seen, _) = self.seen.as_ref().filter(|_| self.is_held())?;
        let mut spec =
            self.spec(wall, &time(wall).into(), seen["spec"]["leaseTransitions"].as_u64().unwrap_or(0));
        spec["holderIdentity"] = Value::Null;
        spec["leaseDurationSeconds"] = 1.into();
        Some(with_spec(seen, spec))
    }

    fn spec(&self, wall: Timestamp, acquired: &Value, transitions: u64) -> Value {
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.ttl.as_secs().max(1),
            "acquireTime": acquired,
            "renewTime": time(wall),
            "leaseTransitions": transitions,
        })
    }
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

/// The object with another `spec`; fields of it that are not ours (`strategy`) stay.
fn with_spec(lease: &Value, spec: Value) -> Value {
    let mut lease = lease.clone();
    if let Value::Object(fields) = spec {
        for (name, value) in fields {
            lease["spec"][name] = value;
        }
    }
    lease
}

/// A `MicroTime`.
fn time(wall: Timestamp) -> String {
    wall.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn view(identity: &str) -> LeaseView {
        LeaseView::new(identity.to_owned(), TTL, "edge", "leader")
    }

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// The object of a step that writes.
    fn written(step: LeaseStep) -> Value {
        match step {
            LeaseStep::Create(lease) | LeaseStep::Replace(lease) => lease,
            LeaseStep::HeldBy(other) => panic!("held by {other}"),
        }
    }

    #[test]
    fn a_missing_lease_is_created_and_renewed_by_its_holder() {
        let start = Instant::now();
        let mut one = view("one");
        let created = written(one.step(start, wall(0)));
        assert_eq!(created["spec"]["holderIdentity"], "one");
        assert_eq!(created["spec"]["acquireTime"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(created["spec"]["leaseDurationSeconds"], 30);
        one.observe(&created, start);
        assert!(one.is_held());
        let renewed = written(one.step(start, wall(7)));
        assert_eq!(renewed["spec"]["acquireTime"], created["spec"]["acquireTime"]);
        assert_eq!(renewed["spec"]["renewTime"], "2027-01-15T08:00:07.000000Z");
        assert_eq!(renewed["spec"]["leaseTransitions"], 0);
    }

    #[test]
    fn a_lease_expires_by_the_local_clock_since_its_last_change() {
        let start = Instant::now();
        let (mut one, mut other) = (view("one"), view("other"));
        // The clock of the holder is a day behind.
        let held = written(one.step(start, wall(-86_400)));
        one.observe(&held, start);
        other.observe(&held, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(other.step(after(29), wall(29)), LeaseStep::HeldBy("one".into()));
        // Seen again without a change, the time goes on.
        other.observe(&held, after(29));
        let taken = written(other.step(after(31), wall(31)));
        assert_eq!(taken["spec"]["holderIdentity"], "other");
        assert_eq!(taken["spec"]["leaseTransitions"], 1);
        // A renewal begins it anew.
        other.observe(&written(one.step(after(30), wall(30))), after(30));
        assert_eq!(other.step(after(59), wall(59)), LeaseStep::HeldBy("one".into()));
    }

    #[test]
    fn the_duration_is_that_of_the_holder() {
        let start = Instant::now();
        let mut short = LeaseView::new("short".into(), Duration::from_secs(5), "edge", "leader");
        let held = written(view("one").step(start, wall(0)));
        short.observe(&held, start);
        assert_eq!(short.step(start + Duration::from_secs(6), wall(6)), LeaseStep::HeldBy("one".into()));
    }

    #[test]
    fn a_released_lease_is_free_at_once() {
        let start = Instant::now();
        let (mut one, mut other) = (view("one"), view("other"));
        one.observe(&written(one.step(start, wall(0))), start);
        let released = one.released(wall(1)).unwrap();
        other.observe(&released, start);
        assert_eq!(written(other.step(start, wall(1)))["spec"]["holderIdentity"], "other");
        one.observe(&released, start);
        assert!(one.released(wall(2)).is_none());
    }
}
