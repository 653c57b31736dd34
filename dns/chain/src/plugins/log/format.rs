//! The FORMAT of `log` (coredns, plugin/pkg/replacer) and the JSON format.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dns_wire::Reply;
use telemetry::json;

use crate::codes::{Class, Rcode, Type};
use crate::request::Request;

/// The default format.
pub(super) const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";
const COMBINED: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration} \"{>opcode}\"";

/// A format, compiled when the Corefile is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueryLogFormat(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    /// `{/LABEL}`: metadata.
    Metadata(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Name,
    Class,
    Proto,
    Size,
    Remote,
    Port,
    Local,
    Id,
    Opcode,
    Do,
    Bufsize,
    Rcode,
    Rsize,
    Duration,
    Rflags,
}

const FIELDS: &[(&str, Field)] = &[
    ("{type}", Field::Type),
    ("{name}", Field::Name),
    ("{class}", Field::Class),
    ("{proto}", Field::Proto),
    ("{size}", Field::Size),
    ("{remote}", Field::Remote),
    ("{port}", Field::Port),
    ("{local}", Field::Local),
    ("{>id}", Field::Id),
    ("{>opcode}", Field::Opcode),
    ("{>do}", Field::Do),
    ("{>bufsize}", Field::Bufsize),
    ("{rcode}", Field::Rcode),
    ("{rsize}", Field::Rsize),
    ("{duration}", Field::Duration),
    ("{>rflags}", Field::Rflags),
];

/// A query and the reply to it.
pub(super) struct SentReply<'a> {
    pub request: &'a Request,
    /// `None` if no reply was sent.
    pub reply: Option<&'a Reply>,
    pub size: usize,
    pub took: Duration,
}

impl QueryLogFormat {
    /// Parses a format. Known words in braces are replaced, everything else is literal.
    pub(super) fn read(text: &str) -> Self {
        let text = text.replace("{common}", COMMON).replace("{combined}", COMBINED);
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some(ch) = rest.chars().next() {
            let word = rest.find('}').filter(|_| ch == '{').map(|end| &rest[..=end]);
            let field = word.and_then(|word| FIELDS.iter().find(|(known, _)| *known == word));
            let piece = match (field, word) {
                (Some((_, field)), _) => Some(Piece::Field(*field)),
                (None, Some(word)) if word.starts_with("{/") => {
                    Some(Piece::Metadata(word[2..word.len() - 1].to_owned()))
                }
                _ => None,
            };
            match (piece, word) {
                (Some(piece), Some(word)) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                    rest = &rest[word.len()..];
                }
                _ => {
                    literal.push(ch);
                    rest = &rest[ch.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Self(pieces)
    }

    /// Writes the line in CoreDNS's text format.
    // Hot: 0 allocations.
    pub(super) fn text(&self, sent: &SentReply<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"[INFO] ");
        self.message(sent, out);
    }

    /// Writes the line as a JSON object (CoreDNS 1.15, `-log-format json`).
    pub(super) fn json(&self, sent: &SentReply<'_>, out: &mut Vec<u8>) {
        let SentReply { request, reply, size, took } = sent;
        let query = &request.query;
        let mut message = Vec::new();
        self.message(sent, &mut message);
        let rcode = reply.map_or_else(|| "null".to_owned(), |reply| format!("\"{}\"", Rcode(reply.rcode)));
        // Writing into a Vec cannot fail.
        let _ = write!(out, "{{\"time\":\"{}\",\"level\":\"INFO\",\"msg\":", jiff::Timestamp::now());
        json::push_string(out, &String::from_utf8_lossy(&message));
        let _ = write!(out, ",\"plugin\":\"log\",\"client_ip\":\"{}\",\"client_port\":", request.client.ip());
        let _ = write!(out, "{},\"qname\":", request.client.port());
        json::push_string(out, &query.to_name().lower().to_string());
        let _ = write!(
            out,
            ",\"qtype\":\"{}\",\"qclass\":\"{}\",\"protocol\":\"{}\",\"id\":{},\"opcode\":{},\"request_size\":{},\
             \"dnssec_ok\":{},\"bufsize\":{},\"rcode\":{},\"response_size\":{size},\"duration_seconds\":{}}}",
            Type(query.qtype),
            Class(query.qclass),
            request.transport.name(),
            query.id,
            query.opcode(),
            request.size,
            query.dnssec_ok(),
            request.limit(),
            rcode,
            took.as_secs_f64(),
        );
    }

    fn message(&self, sent: &SentReply<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => field.write(sent, out),
                Piece::Metadata(label) => match sent.request.metadata(label) {
                    Some(value) if !value.is_empty() => out.extend_from_slice(value.as_bytes()),
                    _ => out.push(b'-'),
                },
            }
        }
    }
}

impl Field {
    fn write(self, sent: &SentReply<'_>, out: &mut Vec<u8>) {
        let SentReply { request, reply, size, took } = sent;
        let query = &request.query;
        // Writing into a Vec cannot fail.
        let _ = match self {
            Self::Type => write!(out, "{}", Type(query.qtype)),
            Self::Name => write!(out, "{}", query.to_name().lower()),
            Self::Class => write!(out, "{}", Class(query.qclass)),
            Self::Proto => write!(out, "{}", request.transport.name()),
            Self::Size => write!(out, "{}", request.size),
            Self::Remote => host(out, request.client),
            Self::Port => write!(out, "{}", request.client.port()),
            Self::Local => host(out, request.server),
            Self::Id => write!(out, "{}", query.id),
            Self::Opcode => write!(out, "{}", query.opcode()),
            Self::Do => write!(out, "{}", query.dnssec_ok()),
            Self::Bufsize => write!(out, "{}", request.limit()),
            Self::Rcode => match reply {
                Some(reply) => write!(out, "{}", Rcode(reply.rcode)),
                None => write!(out, "-"),
            },
            Self::Rsize => write!(out, "{size}"),
            Self::Duration => write!(out, "{}s", took.as_secs_f64()),
            Self::Rflags => {
                flags(sent, out);
                Ok(())
            }
        };
    }
}

/// An address as in a URL (RFC 3986 §3.2.2).
fn host(out: &mut Vec<u8>, address: SocketAddr) -> std::io::Result<()> {
    match address.ip() {
        IpAddr::V4(ip) => write!(out, "{ip}"),
        IpAddr::V6(ip) => write!(out, "[{ip}]"),
    }
}

/// The names of the flags that are set in the reply.
fn flags(sent: &SentReply<'_>, out: &mut Vec<u8>) {
    let SentReply { request, reply, .. } = sent;
    let Some(reply) = reply else { return out.push(b'-') };
    let flags = [
        (true, "qr"),
        (reply.authoritative, "aa"),
        (reply.truncated, "tc"),
        (request.query.recursion_desired(), "rd"),
        (reply.recursion_available, "ra"),
        (reply.authentic_data, "ad"),
        (request.query.checking_disabled(), "cd"),
    ];
    let set = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
    for (index, name) in set.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use dns_wire::Query;

    use super::*;
    use crate::request::Transport;

    fn request() -> Request {
        let mut request = Request::new(Transport::Udp, "[::1]:53".parse().unwrap());
        request.query = Query::new(29008, &"Example.org.".parse().unwrap(), 1);
        request.client = "10.0.0.1:50759".parse().unwrap();
        request.size = 41;
        request
    }

    #[test]
    fn text_lines_equal_those_of_coredns() {
        let (request, mut reply) = (request(), Reply::default());
        (reply.rcode, reply.authoritative) = (3, true);
        let sent =
            SentReply { request: &request, reply: Some(&reply), size: 106, took: Duration::from_micros(137) };
        for (format, wanted) in [
            (
                COMMON,
                "10.0.0.1:50759 - 29008 \"A IN example.org. udp 41 false 512\" NXDOMAIN qr,aa,rd 106 0.000137s",
            ),
            (
                "{common}!",
                "10.0.0.1:50759 - 29008 \"A IN example.org. udp 41 false 512\" NXDOMAIN qr,aa,rd 106 0.000137s!",
            ),
            ("{local} {>opcode} {/meta/label} {unknown} {", "[::1] 0 - {unknown} {"),
        ] {
            let mut line = Vec::new();
            QueryLogFormat::read(format).text(&sent, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), format!("[INFO] {wanted}"), "{format}");
        }
    }

    #[test]
    fn json_lines_have_all_fields_of_coredns() {
        let (request, reply) = (request(), Reply::default());
        let sent =
            SentReply { request: &request, reply: Some(&reply), size: 106, took: Duration::from_millis(2) };
        let mut line = Vec::new();
        QueryLogFormat::read("{name}").json(&sent, &mut line);
        let line = String::from_utf8(line).unwrap();
        let wanted = "\"level\":\"INFO\",\"msg\":\"example.org.\",\"plugin\":\"log\",\"client_ip\":\"10.0.0.1\",\
                      \"client_port\":50759,\"qname\":\"example.org.\",\"qtype\":\"A\",\"qclass\":\"IN\",\
                      \"protocol\":\"udp\",\"id\":29008,\"opcode\":0,\"request_size\":41,\"dnssec_ok\":false,\
                      \"bufsize\":512,\"rcode\":\"NOERROR\",\"response_size\":106,\"duration_seconds\":0.002}";
        assert!(line.ends_with(wanted), "{line}");
    }
}
