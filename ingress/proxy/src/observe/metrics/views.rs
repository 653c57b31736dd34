//! Metrics of the current views: Ingresses without endpoints, certificates and their expiry.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{CompactString, Key};
use ingress_routes::{CertificateInfo, Certs, OrphanReason};
use telemetry::metrics::Registry;

use super::names::{OWN, name, own};
use crate::options::Controller;
use crate::views::ProxyViews;

/// `self_signed` is the certificate that is served for names without another one, if there is a listener for HTTPS.
pub(super) fn show(
    registry: &Registry,
    controller: &Controller,
    views: &ProxyViews,
    self_signed: Option<CertificateInfo>,
) {
    orphans(registry, controller.clone(), views.pools.clone());
    certificates(registry, &controller.class, views, self_signed);
    let table = views.table.clone();
    let help = "Requests answered 500 because the regular expressions of their host needed too many steps.";
    registry.callback_counters("portolan_regex_step_limit_total", help, [], move |report| {
        report([], table.load().step_limit_hits() as f64);
    });
    let table = views.table.clone();
    let help = "Clients that limit-rps or limit-rpm has forgotten early because it counted too many.";
    registry.callback_counters("portolan_limit_clients_evicted_total", help, [], move |report| {
        report([], table.load().limit_evictions() as f64);
    });
}

fn orphans(registry: &Registry, controller: Controller, pools: cluster::Current<ingress_routes::Pools>) {
    let labels = [OWN[0], OWN[1], OWN[2], "namespace", "ingress", "type"];
    let help = "Gauge reporting status of ingress orphanity, 1 indicates orphaned ingress.\n\t\t\t'namespace' is the \
                string used to identify namespace of ingress, 'ingress' for ingress name and 'type' for 'no-service' \
                or 'no-endpoint' of orphanity";
    registry.callback_gauges(&name("orphan_ingress"), help, labels, move |report| {
        let [class, namespace, pod] = own(&controller);
        let pools = pools.load();
        // An Ingress is an orphan if one of its backends lacks a Service or endpoints.
        let mut ingresses = BTreeMap::<&Key, [bool; 2]>::new();
        for (ingress, missing) in pools.backends() {
            let [service, endpoint] = ingresses.entry(ingress).or_default();
            *service |= missing == Some(OrphanReason::NoService);
            *endpoint |= missing == Some(OrphanReason::NoEndpoint);
        }
        for (ingress, missing) in ingresses {
            for (what, is) in ["no-service", "no-endpoint"].into_iter().zip(missing) {
                let number = if is { 1.0 } else { 0.0 };
                report([class, namespace, pod, &ingress.namespace, &ingress.name, what], number);
            }
        }
    });
}

/// A certificate in use: host (`_` for the default), Secret, and its fields.
type CertificateInUse<'a> = (CompactString, &'a Key, &'a CertificateInfo);

/// The certificates in use. As in ingress-nginx, the self-signed one has no Secret.
fn in_use<'a>(
    certs: &'a Certs,
    self_signed: &'a Option<(Key, CertificateInfo)>,
) -> impl Iterator<Item = CertificateInUse<'a>> {
    let own = self_signed.iter().filter(|_| certs.default_is_self_signed());
    own.map(|(key, info)| ("_".into(), key, info)).chain(certs.in_use())
}

fn certificates(registry: &Registry, class: &str, views: &ProxyViews, self_signed: Option<CertificateInfo>) {
    let self_signed = Arc::new(self_signed.map(|info| (Key::new("", ""), info)));
    let help = "Number of seconds since 1970 to the SSL Certificate expire.\n\t\t\tAn example to check if this \
                certificate will expire in 10 days is: \"nginx_ingress_controller_ssl_expire_time_seconds < (time() + \
                (10 * 24 * 3600))\"";
    let labels = ["namespace", "class", "host", "secret_name", "identifier"];
    let (shown, own, default) = (views.certs.clone(), class.to_owned(), self_signed.clone());
    registry.callback_gauges(&name("ssl_expire_time_seconds"), help, labels, move |report| {
        for (host, Key { namespace, name }, facts) in in_use(&shown.load(), &default) {
            report([namespace, &own, &host, name, &identifier(facts)], facts.expires as f64);
        }
    });
    let more = ["issuer_organization", "issuer_common_name", "serial_number", "public_key_algorithm"];
    let labels =
        std::array::from_fn::<_, 9, _>(|at| labels.iter().chain(&more).nth(at).copied().unwrap_or_default());
    let (shown, own) = (views.certs.clone(), class.to_owned());
    let help = "Hold all labels associated to a certificate";
    registry.callback_gauges(&name("ssl_certificate_info"), help, labels, move |report| {
        for (host, Key { namespace, name }, facts) in in_use(&shown.load(), &self_signed) {
            let CertificateInfo {
                issuer_organization,
                issuer_common_name,
                serial_number,
                public_key_algorithm,
                ..
            } = facts;
            let identifier = identifier(facts);
            let first = [namespace, own.as_str(), &host, name, &identifier];
            let [namespace, class, host, secret, identifier] = first;
            report(
                [
                    namespace,
                    class,
                    host,
                    secret,
                    identifier,
                    issuer_organization,
                    issuer_common_name,
                    serial_number,
                    public_key_algorithm,
                ],
                1.0,
            );
        }
    });
}

/// The label `identifier` as in ingress-nginx: the issuer's serial number, which is nearly always missing, and the
/// certificate's.
fn identifier(facts: &CertificateInfo) -> String {
    format!("{}-{}", facts.issuer_serial_number, facts.serial_number)
}
