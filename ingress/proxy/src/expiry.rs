//! When certificates expire, read from the view at each scrape.

use std::collections::HashMap;

use cluster::Current;
use ingress_routes::Certs;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::options::Controller;

/// `nginx_ingress_controller_ssl_expire_time_seconds` by host; `_` is the default certificate.
pub(crate) struct Expiry {
    certs: Current<Certs>,
    desc: Desc,
    own: [(&'static str, String); 3],
}

impl Expiry {
    pub(crate) fn new(certs: Current<Certs>, controller: &Controller) -> Self {
        let own = [
            ("controller_class", controller.class.clone()),
            ("controller_namespace", controller.namespace.clone()),
            ("controller_pod", controller.pod.clone()),
        ];
        let labels = own.iter().map(|(name, _)| *name).chain(["host"]).map(str::to_owned).collect();
        let desc = Desc::new(
            "nginx_ingress_controller_ssl_expire_time_seconds".to_owned(),
            "Number of seconds since 1970 to the SSL Certificate expire".to_owned(),
            labels,
            HashMap::new(),
        );
        Self { certs, desc: desc.expect("its names are constants and valid"), own }
    }
}

impl Collector for Expiry {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let certs = self.certs.load();
        let samples = certs.expiries().map(|(host, expires)| {
            let own = self.own.iter().map(|(name, value)| pair(name, value));
            let mut gauge = proto::Gauge::default();
            gauge.set_value(expires as f64);
            let mut metric = proto::Metric::from_gauge(gauge);
            metric.set_label(own.chain([pair("host", host)]).collect());
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_metric(samples.collect());
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::GAUGE);
        if family.get_metric().is_empty() { Vec::new() } else { vec![family] }
    }
}

fn pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
