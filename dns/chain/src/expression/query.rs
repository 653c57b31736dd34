//! The functions of an expression that describe the query (coredns, plugin/pkg/expression/expression.go).

use std::net::IpAddr;

use ipnet::IpNet;

use super::{EvalError, ExprValue};
use crate::codes::{Class, Type};
use crate::request::Request;

/// The functions, with the number of their arguments.
pub const QUERY_FUNCTIONS: &[(&str, usize)] = &[
    ("bufsize", 0),
    ("class", 0),
    ("client_ip", 0),
    ("do", 0),
    ("id", 0),
    ("incidr", 2),
    ("metadata", 1),
    ("name", 0),
    ("opcode", 0),
    ("port", 0),
    ("proto", 0),
    ("server_ip", 0),
    ("server_port", 0),
    ("size", 0),
    ("type", 0),
];

/// The value of such a function; `None` if there is none with this name.
pub(super) fn call(
    name: &str,
    arguments: &[ExprValue],
    request: &Request,
) -> Option<Result<ExprValue, EvalError>> {
    let query = &request.query;
    let text = |text: String| ExprValue::Text(text);
    Some(Ok(match (name, arguments) {
        ("bufsize", []) => ExprValue::Int(request.limit() as i64),
        ("class", []) => text(Class(query.qclass).to_string()),
        ("client_ip", []) => text(request.client.ip().to_canonical().to_string()),
        ("do", []) => ExprValue::Bool(query.dnssec_ok()),
        ("id", []) => ExprValue::Int(query.id.into()),
        ("incidr", [ExprValue::Text(ip), ExprValue::Text(net)]) => return Some(is_in(ip, net)),
        ("metadata", [ExprValue::Text(label)]) => text(request.metadata(label).unwrap_or_default()),
        ("name", []) => text(query.to_name().lower().to_string()),
        ("opcode", []) => ExprValue::Int(query.opcode().into()),
        ("port", []) => text(request.client.port().to_string()),
        ("proto", []) => text(request.transport.name().to_owned()),
        ("server_ip", []) => text(request.server.ip().to_canonical().to_string()),
        ("server_port", []) => text(request.server.port().to_string()),
        ("size", []) => ExprValue::Int(request.size as i64),
        ("type", []) => text(Type(query.qtype).to_string()),
        _ => return None,
    }))
}

fn is_in(ip: &str, net: &str) -> Result<ExprValue, EvalError> {
    let net: IpNet = net.parse().map_err(|_| format!("incidr: {net:?} is not an address range"))?;
    is_in_net(ip, &net).map(ExprValue::Bool)
}

/// Whether a network has an address.
pub(super) fn is_in_net(ip: &str, net: &IpNet) -> Result<bool, EvalError> {
    let address: IpAddr = ip.parse().map_err(|_| format!("incidr: {ip:?} is not an IP address"))?;
    Ok(net.contains(&address))
}
