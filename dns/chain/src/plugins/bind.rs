//! `bind`: listens on some addresses instead of all of them.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use config::{ConfigError, Directive, Word};

use crate::host;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "bind",
    about: "listens on some addresses instead of all of them",
    syntax: &["bind 127.0.0.1 ::1", "bind 127.0.0.1\nbind ::1", "bind lo {\n    except 127.0.0.1\n}"],
    options: &[
        PluginOption {
            syntax: "ADDRESS|INTERFACE…",
            default: "",
            about: "Addresses to listen on. An interface stands for all addresses that it has when the Corefile is read. Several lines add up.",
        },
        PluginOption {
            syntax: "except ADDRESS|INTERFACE…",
            default: "",
            about: "Addresses of the same line that are left out.",
        },
    ],
    early: true,
    metrics: |_| {},
    setup,
};

/// The expected argument, for errors.
const WANTED: &str = "an IP address, or one of the interfaces";

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (interfaces, mut errors) = (host::interface_addresses(), SetupErrors::new());
    let mut addresses = Vec::new();
    for directive in setup.directives.clone() {
        match read(directive, &interfaces) {
            Ok(found) => addresses.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if addresses.is_empty() {
        let what = "bind: no address is left after except";
        return Err(vec![setup.directives[0].error(what, "at least one address to listen on")]);
    }
    setup.listen_on(addresses);
    Ok(Vec::new())
}

/// The addresses of a directive.
fn read(
    directive: &Directive,
    interfaces: &[(String, Option<SocketAddr>)],
) -> Result<Vec<SocketAddr>, SetupErrors> {
    let args = directive.args_from(1, "ADDRESS|INTERFACE…").map_err(|error| vec![error])?;
    let (mut except, mut errors) = (Vec::new(), SetupErrors::new());
    each_line(directive, |line| match line.name.text.as_str() {
        "except" => {
            for word in line.args_from(1, "ADDRESS|INTERFACE…")? {
                except.extend(addresses(word, interfaces)?);
            }
            Ok(())
        }
        _ => Err(line.unknown(&["except"])),
    })?;
    let mut found = Vec::new();
    for word in args {
        match addresses(word, interfaces) {
            Ok(more) => found.extend(more),
            Err(error) => errors.push(error),
        }
    }
    found.retain(|address| !except.contains(address));
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The addresses that a word stands for, with port 0.
fn addresses(
    word: &Word,
    interfaces: &[(String, Option<SocketAddr>)],
) -> Result<Vec<SocketAddr>, ConfigError> {
    let entries: Vec<_> = interfaces.iter().filter(|(name, _)| **name == word.text).collect();
    if !entries.is_empty() {
        let found: Vec<_> = entries.into_iter().filter_map(|(_, address)| *address).collect();
        let what = || {
            word.error(format!("interface {:?} has no IP address", word.text), "an interface with an address")
        };
        return if found.is_empty() { Err(what()) } else { Ok(found) };
    }
    let (ip, zone) = word.split_once('%').map_or((&**word, None), |(ip, zone)| (ip, Some(zone)));
    let known = || {
        let mut names: Vec<&str> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        format!("{WANTED} {}", names.join(", "))
    };
    let invalid =
        || word.error(format!("not a valid IP address or interface name: {:?}", word.text), known());
    match (ip.parse().map_err(|_| invalid())?, zone) {
        (IpAddr::V4(ip), None) => Ok(vec![(ip, 0).into()]),
        (IpAddr::V6(ip), zone) => {
            // A link-local address belongs to an interface (RFC 4007 §11).
            let scope = match zone {
                Some(zone) => host::interface_index(zone).ok_or_else(invalid)?,
                None => 0,
            };
            Ok(vec![SocketAddrV6::new(ip, 0, 0, scope).into()])
        }
        _ => Err(invalid()),
    }
}
