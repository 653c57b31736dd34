//! The addresses that the proxy listens on, and the number of its workers: keys of the ConfigMap.

use std::net::IpAddr;

use super::{AnnotationFamily, FamilyKey, SettingReader};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::ListenSettings;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "listeners",
    doc: "Addresses of HTTP, HTTPS, and TCP and UDP services, and the workers that serve them.",
    keys: &[
        FamilyKey {
            name: "bind-address",
            values: "a list of addresses",
            doc: "the addresses to listen on, also of TCP and UDP services; as in ingress-nginx a family (IPv4, IPv6) without an address \
                  in the list is listened on as without the key. Connections that are open stay, and the old addresses stay until all new \
                  ones could be opened. Without a valid address every request gets 503",
        },
        FamilyKey {
            name: "disable-ipv6",
            values: "true, false; default false",
            doc: "listens on no IPv6 address",
        },
        FamilyKey {
            name: "disable-ipv6-dns",
            values: "true, false; default false",
            doc: "resolves the names of ExternalName Services and authentication servers to IPv4 addresses only",
        },
        FamilyKey {
            name: "worker-processes",
            values: "auto or a number from 1 to 1024; default auto, one per CPU",
            doc: "how many worker threads are started; --workers wins; a change takes effect at the next start",
        },
    ],
    phases: &[Phase::Server],
    syntax: "bind-address: 192.0.2.1, 2001:db8::1\n\
             disable-ipv6: 'true'\n\
             disable-ipv6-dns: 'true'\n\
             worker-processes: '4'",
    read_keys,
    ..AnnotationFamily::NONE
};

const MAX_WORKERS: usize = 1024;

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const WORKERS: &str = "auto or a number from 1 to 1024";
    let workers = |value: &str| match value {
        "auto" => Some(None),
        value => value.parse().ok().filter(|count| (1..=MAX_WORKERS).contains(count)).map(Some),
    };
    let defaults = values.take::<ListenSettings>().unwrap_or_default();
    values.set(ListenSettings {
        addresses: addresses(reader).map_or(defaults.addresses, Into::into),
        disables_ipv6: reader.flag("disable-ipv6").unwrap_or(defaults.disables_ipv6),
        disables_ipv6_names: reader.flag("disable-ipv6-dns").unwrap_or(defaults.disables_ipv6_names),
        workers: reader
            .value("worker-processes", WORKERS, Effect::DefaultUsed, workers)
            .unwrap_or(defaults.workers),
    });
}

/// The addresses of `bind-address`; `None` if it is not set or has no valid one, which closes everything: the list may have been written
/// to serve one network only.
fn addresses(reader: &mut SettingReader<'_>) -> Option<Vec<IpAddr>> {
    const KEY: &str = "bind-address";
    const WANTED: &str = "an address such as 192.0.2.1 or 2001:db8::1";
    let text = reader.text(KEY)?;
    let (mut addresses, mut invalid) = <(Vec<IpAddr>, Vec<&str>)>::default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.strip_prefix('[').and_then(|item| item.strip_suffix(']')).unwrap_or(item).parse() {
            Ok(address) if !addresses.contains(&address) => addresses.push(address),
            Ok(_) => {}
            Err(_) => invalid.push(item),
        }
    }
    if addresses.is_empty() && invalid.is_empty() {
        reader.problem(KEY, format!("{text:?} has no entry; it should have {WANTED}"), Effect::Closed);
    }
    let effect = if addresses.is_empty() { Effect::Closed } else { Effect::LeftOut };
    reader.invalid_items(KEY, &invalid, WANTED, effect);
    (!addresses.is_empty()).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_value;

    fn read(data: &[(&str, &str)]) -> (ListenSettings, Vec<String>) {
        key_value(read_keys, data)
    }

    #[test]
    fn keys_become_settings() {
        assert_eq!(read(&[]), (ListenSettings::default(), vec![]));
        let wanted = ListenSettings {
            addresses: ["10.0.0.1", "2001:db8::1"].map(|address| address.parse().unwrap()).into(),
            disables_ipv6: true,
            disables_ipv6_names: true,
            workers: Some(3),
        };
        let given = [
            ("bind-address", "10.0.0.1, [2001:db8::1],10.0.0.1"),
            ("disable-ipv6", "true"),
            ("disable-ipv6-dns", "1"),
            ("worker-processes", "3"),
        ];
        assert_eq!(read(&given), (wanted, vec![]));
        assert_eq!(read(&[("worker-processes", "auto")]), (ListenSettings::default(), vec![]));
    }

    #[test]
    fn invalid_values_are_reported() {
        for (key, value, what) in [
            ("bind-address", "eth0", "\"eth0\" should be an address"),
            ("bind-address", ",", "has no entry"),
            ("bind-address", "10.0.0.0/8", "\"10.0.0.0/8\" should be an address"),
            ("worker-processes", "0", "auto or a number from 1 to 1024"),
            ("worker-processes", "2000", "auto or a number from 1 to 1024"),
            ("disable-ipv6", "on", "true or false"),
        ] {
            let (settings, problems) = read(&[(key, value)]);
            assert_eq!(settings, ListenSettings::default(), "{key}: {value}");
            assert!(problems.len() == 1 && problems[0].contains(what), "{key}: {value}: {problems:?}");
        }
        let (settings, problems) = read(&[("bind-address", "10.0.0.1,x")]);
        assert_eq!((settings.addresses.len(), problems.len()), (1, 1));
        assert!(problems[0].contains("left out"), "{problems:?}");
    }
}
