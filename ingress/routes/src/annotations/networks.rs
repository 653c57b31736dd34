//! Lists of addresses and networks in values of annotations and keys.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::SettingReader;
use crate::problem::Effect;

pub(super) type Networks = Arc<[IpNet]>;

/// The networks of a list between commas; `None` if it is not set or has no valid entry, which is reported with the effect `without`: a
/// list that consists of commas must not count as unset. Invalid entries beside valid ones are reported with the effect `beside`.
pub(super) fn networks(
    reader: &mut SettingReader<'_>,
    name: &'static str,
    without: Effect,
    beside: Effect,
) -> Option<Networks> {
    const WANTED: &str = "an address or a network such as 10.0.0.0/8";
    let text = reader.text(name)?;
    let mut networks = Vec::new();
    let mut invalid = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match network(item) {
            Some(network) => networks.push(network),
            None => invalid.push(item),
        }
    }
    if networks.is_empty() && invalid.is_empty() {
        reader.problem(name, format!("{text:?} has no entry; it should have {WANTED}"), without);
    }
    let effect = if networks.is_empty() { without } else { beside };
    reader.invalid_items(name, &invalid, WANTED, effect);
    (!networks.is_empty()).then(|| networks.into())
}

/// An address, or a network whose host bits may be set, as in Go's `ParseCIDR`.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .ok()
        .or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}
