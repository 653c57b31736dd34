//! `rewrite edns0`: options of the query's OPT record.

use std::net::IpAddr;

use ipnet::IpNet;

use super::outcome::Applied;
use crate::metadata;
use crate::request::Request;

/// Codes of options (RFC 5001 §4, RFC 7871 §6).
const NSID: u16 = 3;
const CLIENT_SUBNET: u16 = 8;

/// A rule for an option.
pub(super) struct EdnsRule {
    pub action: EdnsAction,
    pub value: OptionValue,
    /// Whether the reply has the option as if the rule had not been applied.
    pub revert: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdnsAction {
    /// Replaces the option or adds it.
    Set,
    /// Adds the option, also to one that is there already: with the data of a local option as in the Corefile, and NSID. A local option
    /// with a variable, and a client subnet, are added only if there is none.
    Append,
    /// Replaces the option if there is one.
    Replace,
    /// Removes the option.
    Unset,
}

/// The data of an option.
pub(super) enum OptionValue {
    Local {
        code: u16,
        data: LocalData,
    },
    Nsid,
    /// The client's address with this many bits, for IPv4 and IPv6.
    Subnet {
        v4: u8,
        v6: u8,
    },
}

pub(super) enum LocalData {
    Bytes(Vec<u8>),
    Variable(Variable),
}

/// A property of the query in braces.
pub(super) enum Variable {
    QueryName,
    QueryType,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
    Metadata(String),
}

impl Variable {
    /// The variable with this name, without its braces.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "qname" => Self::QueryName,
            "qtype" => Self::QueryType,
            "client_ip" => Self::ClientIp,
            "client_port" => Self::ClientPort,
            "protocol" => Self::Protocol,
            "server_ip" => Self::ServerIp,
            "server_port" => Self::ServerPort,
            label if metadata::is_label(label) => Self::Metadata(label.to_owned()),
            _ => return None,
        })
    }

    fn value(&self, request: &Request) -> Option<Vec<u8>> {
        let octets = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        Some(match self {
            Self::QueryName => request.query.to_name().to_string().into_bytes(),
            Self::QueryType => request.query.qtype.to_be_bytes().to_vec(),
            Self::ClientIp => octets(request.client.ip()),
            Self::ClientPort => request.client.port().to_be_bytes().to_vec(),
            Self::Protocol => request.transport.name().as_bytes().to_vec(),
            Self::ServerIp => octets(request.server.ip()),
            Self::ServerPort => request.server.port().to_be_bytes().to_vec(),
            Self::Metadata(label) => request.metadata(label).filter(|value| !value.is_empty())?.into_bytes(),
        })
    }
}

impl OptionValue {
    /// Whether `append` adds the option to one that is there already.
    fn may_repeat(&self) -> bool {
        matches!(self, Self::Local { data: LocalData::Bytes(_), .. } | Self::Nsid)
    }

    fn code(&self) -> u16 {
        match self {
            Self::Local { code, .. } => *code,
            Self::Nsid => NSID,
            Self::Subnet { .. } => CLIENT_SUBNET,
        }
    }

    fn data(&self, request: &Request) -> Option<Vec<u8>> {
        match self {
            Self::Local { data: LocalData::Bytes(bytes), .. } => Some(bytes.clone()),
            Self::Local { data: LocalData::Variable(variable), .. } => variable.value(request),
            Self::Nsid => Some(Vec::new()),
            Self::Subnet { v4, v6 } => {
                let ip = request.client.ip().to_canonical();
                let (family, bits) = if ip.is_ipv4() { (1_u16, *v4) } else { (2, *v6) };
                let net = IpNet::new(ip, bits).ok()?.trunc().network();
                let octets = match net {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let [f0, f1] = family.to_be_bytes();
                // Only the octets that the prefix reaches (RFC 7871 §6).
                Some([&[f0, f1, bits, 0], &octets[..usize::from(bits).div_ceil(8)]].concat())
            }
        }
    }
}

impl EdnsRule {
    /// Changes the option. Returns whether the rule was applied (coredns, plugin/rewrite/edns0.go).
    pub(super) fn apply(&self, request: &mut Request, applied: &mut Vec<Applied>) -> bool {
        let code = self.value.code();
        let data = match self.action {
            EdnsAction::Unset => Some(Vec::new()),
            _ => self.value.data(request),
        };
        let Some(data) = data else { return false };
        // As in CoreDNS, also if the rule then changes nothing.
        if request.query.add_edns() {
            applied.push(Applied::Edns);
        }
        let before = request.query.option(code).map(<[u8]>::to_vec);
        let is_wanted = match self.action {
            EdnsAction::Set | EdnsAction::Unset => true,
            EdnsAction::Append => before.is_none() || self.value.may_repeat(),
            EdnsAction::Replace => before.is_some(),
        };
        if !is_wanted {
            return false;
        }
        if self.action != EdnsAction::Append {
            request.query.remove_options(code);
        }
        if self.action == EdnsAction::Unset {
            // Applied also to a query without the option.
            return true;
        }
        if !request.query.push_option(code, &data) {
            return false;
        }
        let is_local = matches!(self.value, OptionValue::Local { .. });
        if self.revert {
            applied.push(Applied::Revert { code, before, is_local });
        } else if is_local {
            applied.push(Applied::Option(code));
        }
        true
    }
}
