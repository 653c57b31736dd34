//! Address lists: which clients may send requests.

use http::StatusCode;

use super::networks::{Networks, networks};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::access::{AccessOutcome, AccessRule, Services};
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "source range",
    doc: "Answers 403 to clients by their address. Lists are addresses and networks (CIDR), separated by commas. A list without \
          any valid entry closes the routes (503), and so does an invalid entry of the annotation denylist-source-range, since the \
          clients that it means would be served. Other invalid entries beside valid ones are reported and left out.",
    annotations: &[
        Annotation {
            name: "allowlist-source-range",
            values: "addresses and networks; default the ConfigMap's",
            doc: "Only these clients are served. Replaces the list of the ConfigMap.",
        },
        Annotation {
            name: "whitelist-source-range",
            values: "addresses and networks",
            doc: "The old name of allowlist-source-range, which takes precedence.",
        },
        Annotation {
            name: "denylist-source-range",
            values: "addresses and networks; default the ConfigMap's",
            doc: "These clients are not served, whatever the other list says. Replaces the list of the ConfigMap.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "whitelist-source-range",
            values: "addresses and networks",
            doc: "only these clients are served by Ingresses without a list of their own",
        },
        FamilyKey {
            name: "denylist-source-range",
            values: "addresses and networks",
            doc: "these clients are not served by Ingresses without a list of their own",
        },
        FamilyKey {
            name: "block-cidrs",
            values: "addresses and networks",
            doc: "these clients get 403 on every host",
        },
    ],
    phases: &[Phase::Rewrite, Phase::Access],
    syntax: "allowlist-source-range: 10.0.0.0/8, 2001:db8::/32\n\
             whitelist-source-range: 10.0.0.0/8\n\
             denylist-source-range: 10.1.2.3",
    read,
    read_keys,
    plan,
};

/// The lists of an Ingress; `None` for those of the ConfigMap.
#[derive(Debug, Default, PartialEq)]
struct OwnLists {
    allowed: Option<Networks>,
    denied: Option<Networks>,
}

/// The lists of the ConfigMap.
#[derive(Debug, Default, PartialEq)]
struct GlobalLists {
    allowed: Networks,
    denied: Networks,
    blocked: Networks,
}

/// The list of an annotation or key. If nothing in it is valid, the routes are closed.
fn list(reader: &mut SettingReader<'_>, name: &'static str) -> Option<Networks> {
    networks(reader, name, Effect::Closed, Effect::LeftOut)
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // A canary is protected by the lists of the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let old = list(reader, "whitelist-source-range");
    let allowed = list(reader, "allowlist-source-range").or(old);
    // As in ingress-nginx.
    let denied = networks(reader, "denylist-source-range", Effect::Closed, Effect::Closed);
    let lists = OwnLists { allowed, denied };
    if lists != OwnLists::default() {
        settings.values.set(lists);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let lists = GlobalLists {
        allowed: list(reader, "whitelist-source-range").unwrap_or_default(),
        denied: list(reader, "denylist-source-range").unwrap_or_default(),
        blocked: list(reader, "block-cidrs").unwrap_or_default(),
    };
    if lists != GlobalLists::default() {
        values.set(lists);
    }
}

/// Which lists of addresses a location has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HasLists {
    pub(super) allowed: bool,
    pub(super) denied: bool,
}

/// Which lists the location of a rule has.
pub(super) fn has_lists(settings: &Settings, rule: &Rule<'_>) -> HasLists {
    let (own, global) = (settings.values.get::<OwnLists>(), rule.globals.get::<GlobalLists>());
    let has = |own: Option<&Networks>, global: Option<&Networks>| {
        rule.ingress.is_some() && own.or(global).is_some_and(|list| !list.is_empty())
    };
    HasLists {
        allowed: has(own.and_then(|own| own.allowed.as_ref()), global.map(|global| &global.allowed)),
        denied: has(own.and_then(|own| own.denied.as_ref()), global.map(|global| &global.denied)),
    }
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let none = (OwnLists::default(), GlobalLists::default());
    let own = settings.values.get::<OwnLists>().unwrap_or(&none.0);
    let global = rule.globals.get::<GlobalLists>().unwrap_or(&none.1);
    if !global.blocked.is_empty() {
        plan.rewrite.push(Box::new(BlockedNetworks(global.blocked.clone())));
    }
    // The page for unknown hosts belongs to no Ingress, and the lists do not apply to it.
    if rule.ingress.is_none() {
        return;
    }
    let range = SourceRange {
        denied: own.denied.as_ref().unwrap_or(&global.denied).clone(),
        allowed: own.allowed.as_ref().unwrap_or(&global.allowed).clone(),
    };
    if !(range.denied.is_empty() && range.allowed.is_empty()) {
        plan.access.rules.push(Box::new(range));
    }
}

/// `block-cidrs`, after redirects and before everything else: no rule of an Ingress, such as `satisfy: any`, lets such a client pass.
#[derive(Debug)]
struct BlockedNetworks(Networks);

impl RequestFilter for BlockedNetworks {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        let client = exchange.client_ip();
        match self.0.iter().any(|network| network.contains(&client)) {
            true => FilterOutcome::respond(DirectResponse::status(StatusCode::FORBIDDEN)),
            false => FilterOutcome::Continue,
        }
    }
}

/// nginx's `deny` and `allow`.
#[derive(Debug)]
struct SourceRange {
    denied: Networks,
    /// Empty allows all.
    allowed: Networks,
}

impl AccessRule for SourceRange {
    fn check(&self, exchange: &mut Exchange, _: &dyn Services) -> AccessOutcome {
        let client = exchange.client_ip();
        let has = |networks: &Networks| networks.iter().any(|network| network.contains(&client));
        if has(&self.denied) || !self.allowed.is_empty() && !has(&self.allowed) {
            return AccessOutcome::Refuse(DirectResponse::status(StatusCode::FORBIDDEN));
        }
        if self.allowed.is_empty() { AccessOutcome::NoOpinion } else { AccessOutcome::Allow }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster::{ConfigMap, Key, Object};

    use crate::options::RouteOptions;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: open}
spec: {rules: [{host: open.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: allow, annotations: {allowlist-source-range: '192.0.2.0/24, 2001:db8::1'}}
spec: {rules: [{host: allow.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: old, annotations: {whitelist-source-range: '198.51.100.0/24'}}
spec: {rules: [{host: old.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: both, annotations: {allowlist-source-range: 192.0.2.0/24, denylist-source-range: 192.0.2.7}}
spec: {rules: [{host: both.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: half, annotations: {allowlist-source-range: 'x, 192.0.2.9/32, y'}}
spec: {rules: [{host: half.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: typo, annotations: {denylist-source-range: '192.0.2.7, 10.0.0.0/33'}}
spec: {rules: [{host: typo.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {allowlist-source-range: 10.0.0.0/33}}
spec: {rules: [{host: bad.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: empty, annotations: {allowlist-source-range: ' , ,', whitelist-source-range: 192.0.2.0/24}}
spec: {rules: [{host: empty.example, paths: [[/, Prefix, web]]}]}
";

    fn world() -> TestCluster {
        let options = RouteOptions {
            watch_ingress_without_class: true,
            config_map: Some(Key::new("ingress", "controller")),
            ..RouteOptions::default()
        };
        let mut world = TestCluster::with(options, INGRESSES);
        world.sync();
        world
    }

    fn set(world: &mut TestCluster, key: &str, value: &str) {
        let data = vec![(key.into(), value.to_owned())];
        let config_map = ConfigMap { key: Key::new("ingress", "controller"), data };
        world.apply([Object::ConfigMap(Arc::new(config_map))]);
    }

    /// The answers of every host for the client 192.0.2.7.
    fn answers(world: &TestCluster) -> Vec<String> {
        let hosts = ["open", "allow", "old", "both", "half", "typo", "bad", "empty", "unknown"];
        hosts.map(|host| world.get(&format!("{host}.example/"))).into()
    }

    #[test]
    fn clients_are_refused_by_their_address() {
        let mut world = world();
        assert_eq!(answers(&world), ["web", "web", "403", "403", "403", "503", "503", "503", "404"]);
        for (key, value, wanted) in [
            (
                "whitelist-source-range",
                "192.0.2.0/24",
                ["web", "web", "403", "403", "403", "503", "503", "503", "404"],
            ),
            (
                "whitelist-source-range",
                "10.0.0.0/8",
                ["403", "web", "403", "403", "403", "503", "503", "503", "404"],
            ),
            (
                "denylist-source-range",
                "192.0.2.7",
                ["403", "403", "403", "403", "403", "503", "503", "503", "404"],
            ),
            (
                "denylist-source-range",
                "nothing, 192.0.2.7",
                ["403", "403", "403", "403", "403", "503", "503", "503", "404"],
            ),
            ("denylist-source-range", "nothing", ["503"; 9]),
            ("denylist-source-range", ",", ["503"; 9]),
            ("whitelist-source-range", ",", ["503"; 9]),
            ("whitelist-source-range", " , ", ["503"; 9]),
            ("block-cidrs", ",", ["503"; 9]),
            ("block-cidrs", "192.0.2.0/25", ["403", "403", "403", "403", "403", "503", "503", "503", "403"]),
        ] {
            set(&mut world, key, value);
            assert_eq!(answers(&world), wanted, "{key}: {value}");
        }
    }

    #[test]
    fn a_blocked_network_is_not_let_in_by_a_password() {
        let ingress = "metadata: {name: any, annotations: {satisfy: any, allowlist-source-range: 192.0.2.0/24}}\n\
                       spec: {rules: [{host: any.example, paths: [[/, Prefix, web]]}]}";
        let mut world = TestCluster::configured(ingress);
        assert_eq!(world.get("any.example/"), "web");
        world.configure(&[("block-cidrs", "192.0.2.7")]);
        assert_eq!(world.get("any.example/"), "403");
    }

    #[test]
    fn invalid_entries_are_reported() {
        let world = world();
        let of = |name: &str| -> Vec<String> {
            world.problems().into_iter().filter(|text| text.contains(name)).collect()
        };
        assert_eq!(
            of("default/half"),
            [
                "Ingress default/half: nginx.ingress.kubernetes.io/allowlist-source-range: \"x\" (and 1 more) should be an \
              address or a network such as 10.0.0.0/8; it is left out"
            ]
        );
        assert_eq!(
            of("default/typo"),
            [
                "Ingress default/typo: nginx.ingress.kubernetes.io/denylist-source-range: \"10.0.0.0/33\" should be an \
              address or a network such as 10.0.0.0/8; the routes answer 503"
            ]
        );
        assert_eq!(
            of("default/bad"),
            [
                "Ingress default/bad: nginx.ingress.kubernetes.io/allowlist-source-range: \"10.0.0.0/33\" should be an \
              address or a network such as 10.0.0.0/8; the routes answer 503"
            ]
        );
        assert_eq!(
            of("default/empty"),
            [
                "Ingress default/empty: nginx.ingress.kubernetes.io/allowlist-source-range: \", ,\" has no entry; it should have \
              an address or a network such as 10.0.0.0/8; the routes answer 503"
            ]
        );
    }
}
