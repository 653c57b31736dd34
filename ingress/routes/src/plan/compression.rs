//! Which responses are compressed, and how. The rules are those of nginx's gzip and brotli filters.

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, USER_AGENT, VARY};
use ingress_wire::framing::HttpVersion;
use smallvec::SmallVec;

use super::filter::ResponseView;
use super::head_edits::HeadEdits;
use crate::exchange::Exchange;
use crate::pattern::Pattern;

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl ContentCoding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// How responses are compressed. The first rule whose coding the client accepts applies.
#[derive(Debug, Default, PartialEq)]
pub struct Compression {
    pub(crate) rules: Vec<CodingRule>,
}

/// When one coding is used.
#[derive(Debug, PartialEq)]
pub struct CodingRule {
    /// The coding.
    pub coding: ContentCoding,
    /// How hard the encoder tries: 1 to 9 for gzip, 0 to 11 for brotli.
    pub level: u32,
    /// The shortest body in bytes, if the endpoint tells the length.
    pub(crate) min_length: u64,
    pub(crate) types: MediaTypes,
    /// Clients with such a User-Agent get no compressed responses.
    pub(crate) excluded: Option<ExcludedAgents>,
}

/// The media types that are compressed, besides text/html.
#[derive(Debug, PartialEq)]
pub(crate) enum MediaTypes {
    All,
    List(Box<[Box<str>]>),
}

/// `gzip-disable`.
#[derive(Debug, PartialEq)]
pub(crate) enum ExcludedAgents {
    /// `msie6`: Internet Explorer 4 to 6, but not 6.0 SV1.
    Msie6,
    Pattern(Pattern),
}

impl MediaTypes {
    fn has(&self, content_type: &[u8]) -> bool {
        let end =
            content_type.iter().position(|byte| matches!(byte, b';' | b' ')).unwrap_or(content_type.len());
        let name = &content_type[..end];
        match self {
            // gRPC compresses its messages by itself, and its clients know no coding of the whole.
            Self::All => !is_grpc(name),
            Self::List(list) => {
                let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
                is("text/html") || list.iter().any(|one| is(one))
            }
        }
    }
}

/// Whether a media type is gRPC's, such as application/grpc+proto; gRPC-Web is HTTP like any other.
fn is_grpc(name: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    name.split_at_checked(GRPC.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(GRPC) && (rest.is_empty() || rest.starts_with(b"+"))
    })
}

impl ExcludedAgents {
    fn excludes(&self, exchange: &Exchange) -> bool {
        let Some(agent) = exchange.header(&USER_AGENT) else { return false };
        match self {
            Self::Msie6 => agent.split_once("MSIE ").is_some_and(|(_, version)| match version.get(..2) {
                Some("4." | "5.") => true,
                Some("6.") => !version.contains("SV1"),
                _ => false,
            }),
            Self::Pattern(pattern) => {
                let mut budget = exchange.step_budget.get();
                let matches = pattern.is_match(agent, &mut budget);
                exchange.step_budget.set(budget);
                // Beyond the limit of steps the response is sent as it is.
                matches.unwrap_or(true)
            }
        }
    }
}

impl Compression {
    /// Chooses the coding of a response and adds the changes of its head to `edits`, which already has those of all
    /// filters. `start` makes the encoder; without one the next rule is tried. The head for HEAD is that for GET.
    ///
    /// `Vary` is also sent where only this client's request prevents the compression.
    pub fn apply<T>(
        &self,
        exchange: &Exchange,
        response: &ResponseView<'_>,
        edits: &mut HeadEdits<'_>,
        mut start: impl FnMut(&CodingRule) -> Option<T>,
    ) -> Option<T> {
        let covers = |rule: &&CodingRule| rule.covers(response, edits);
        let rules: SmallVec<[&CodingRule; 2]> = self.rules.iter().filter(covers).collect();
        if rules.is_empty() || is_encoded_or_fixed(response, edits) {
            return None;
        }
        if !members(response, &VARY).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
        {
            edits.append("Vary", &b"Accept-Encoding"[..]);
        }
        let (coding, encoder) = rules
            .into_iter()
            .filter(|rule| rule.is_for(exchange))
            .find_map(|rule| Some((rule.coding, start(rule)?)))?;
        edits.set("Content-Encoding", coding.as_str().as_bytes());
        edits.remove("Content-Length");
        edits.remove("Accept-Ranges");
        // The compressed body is another representation: a strong validator must not cover both (RFC 9110 §8.8.1).
        let tag = current(response, edits, &ETAG).map(|tag| match tag.strip_prefix(b"W/") {
            Some(_) => tag.to_vec(),
            None if tag.starts_with(b"\"") => [b"W/", tag].concat(),
            None => Vec::new(),
        });
        if let Some(tag) = tag {
            edits.set("ETag", tag);
        }
        Some(encoder)
    }
}

impl CodingRule {
    /// A rule for text/html of any length.
    pub fn new(coding: ContentCoding, level: u32) -> Self {
        Self { coding, level, min_length: 0, types: MediaTypes::List(Box::default()), excluded: None }
    }

    /// Whether the response may be compressed, for any client.
    fn covers(&self, response: &ResponseView<'_>, edits: &HeadEdits<'_>) -> bool {
        let content_type = match edits.value("content-type") {
            None if !edits.replace("content-type") => response.content_type(),
            edited => edited,
        };
        matches!(response.status.as_u16(), 200 | 403 | 404)
            && response.length().is_none_or(|length| length > 0 && length >= self.min_length)
            && self.types.has(content_type.unwrap_or_default())
    }

    fn is_for(&self, exchange: &Exchange) -> bool {
        exchange.request.version() >= HttpVersion::Http11
            && accepts(exchange, self.coding)
            && self.excluded.as_ref().is_none_or(|agents| !agents.excludes(exchange))
    }
}

/// The value of a field after the changes of filters.
fn current<'a>(response: &ResponseView<'a>, edits: &'a HeadEdits<'_>, name: &HeaderName) -> Option<&'a [u8]> {
    match edits.value(name.as_str()) {
        None if !edits.replace(name.as_str()) => response.get(name),
        edited => edited,
    }
}

/// The members of a list in the endpoint's head.
fn members<'r>(response: &ResponseView<'r>, name: &HeaderName) -> impl Iterator<Item = &'r [u8]> {
    response.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether the body has a coding, or must not be changed (RFC 9111 §5.2.2.6).
fn is_encoded_or_fixed(response: &ResponseView<'_>, edits: &HeadEdits<'_>) -> bool {
    current(response, edits, &CONTENT_ENCODING).is_some_and(|coding| !coding.is_empty())
        || members(response, &CACHE_CONTROL).any(|one| one.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether the client has named the coding, with a weight other than 0 (RFC 9110 §12.5.3). As in nginx `*` names none.
fn accepts(exchange: &Exchange, coding: ContentCoding) -> bool {
    let values = exchange.header_values(&ACCEPT_ENCODING).flatten();
    let mut named = values.flat_map(|value| value.split(',')).filter_map(|member| {
        let (name, weight) = member.split_once(';').map_or((member, None), |(name, rest)| (name, Some(rest)));
        name.trim().eq_ignore_ascii_case(coding.as_str()).then_some(weight)
    });
    named.next().is_some_and(|weight| weight.is_none_or(|weight| is_positive(weight.trim())))
}

/// Whether a weight is valid and not 0: `q=0.5`.
fn is_positive(weight: &str) -> bool {
    let number = weight.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    number
        .and_then(|number| number.trim().parse::<f32>().ok())
        .is_some_and(|number| number > 0.0 && number <= 1.0)
}
