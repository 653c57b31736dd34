//! The context of a trace, as requests carry it: `traceparent` and `tracestate` of W3C Trace Context.

use http::HeaderName;
use smallvec::SmallVec;

/// The name of the field with trace, span and flags.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The name of the field with what tracing systems add.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00 in bytes.
const LENGTH: usize = 55;
/// The most members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// The longest `tracestate` that is passed on, in bytes. At least 512 must be (section 3.3.1.5).
const MAX_STATE: usize = 1024;

/// The span that a request names as its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentSpan {
    /// Not zero.
    pub trace_id: [u8; 16],
    /// Not zero.
    pub span_id: [u8; 8],
    /// Whether the client has recorded it.
    pub is_sampled: bool,
}

impl ParentSpan {
    /// Reads a `traceparent` (section 3.2); `None` if it is invalid. Later versions may have more at the end.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version, trace_id, span_id, flags] = <[&[u8]; 4]>::try_from(
            known.split(|byte| *byte == b'-').collect::<SmallVec<[_; 4]>>().as_slice(),
        )
        .ok()?;
        let version = hexadecimal::<1>(version)?[0];
        let is_complete = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let parent = Self {
            trace_id: hexadecimal(trace_id)?,
            span_id: hexadecimal(span_id)?,
            is_sampled: hexadecimal::<1>(flags)?[0] & 1 == 1,
        };
        (is_complete && parent.trace_id != [0; 16] && parent.span_id != [0; 8]).then_some(parent)
    }
}

/// Bytes written as lower-case digits.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

/// Joins the `tracestate` fields of a request; empty if one of their members is invalid (section 3.3), or if they are too long.
pub fn join_state<'v>(fields: impl Iterator<Item = &'v [u8]>) -> String {
    let mut state = String::new();
    let mut count = 0;
    for member in fields.flat_map(|field| field.split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        count += 1;
        let member = is_member(member).then(|| std::str::from_utf8(member).ok()).flatten();
        let Some(member) =
            member.filter(|member| count <= MAX_MEMBERS && state.len() + member.len() < MAX_STATE)
        else {
            return String::new();
        };
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(member);
    }
    state
}

/// Whether a text is `key=value` (section 3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', member) else { return false };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = key.first().is_some_and(is_start)
        && key.len() <= 256
        && key.iter().all(|byte| is_start(byte) || b"_-*/@".contains(byte));
    let is_value = (1..=256).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'=');
    is_key && is_value
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// How many of 2^63 traces are recorded.
    threshold: u64,
    /// The client decides for the traces that it has begun.
    pub is_parent_based: bool,
}

/// One more than the greatest number that is compared with a threshold.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// A share of the traces from 0 to 1.
    pub fn ratio(ratio: f64, is_parent_based: bool) -> Self {
        let threshold = if ratio >= 1.0 { ALL } else { (ratio * ALL as f64) as u64 };
        Self { threshold, is_parent_based }
    }

    /// Whether a trace is recorded. The decision depends on the last 8 bytes of its number, so that all services with the same ratio decide alike, as
    /// OpenTelemetry's libraries for Go, Java and Python do.
    fn samples(self, trace_id: [u8; 16], parent: Option<&ParentSpan>) -> bool {
        match parent {
            Some(parent) if self.is_parent_based => parent.is_sampled,
            _ => u128::from_be_bytes(trace_id) as u64 >> 1 < self.threshold,
        }
    }
}

/// The context of the span of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext {
    /// That of the parent, or a new one.
    pub trace_id: [u8; 16],
    /// The number of the span of the request.
    pub span_id: [u8; 8],
    /// The number of the span of the client.
    pub parent: Option<[u8; 8]>,
    /// Whether the span is recorded. If it is not, the context is passed on all the same.
    pub is_sampled: bool,
    /// `tracestate` of the client.
    pub state: String,
    /// `traceparent` for the endpoint.
    header: [u8; LENGTH],
}

impl TraceContext {
    /// Begins a span. Without a parent it also begins a trace.
    pub fn begin(
        parent: Option<(ParentSpan, String)>,
        sampler: Sampler,
        random: &mut dyn FnMut() -> u128,
    ) -> Self {
        // Zero means that there is none.
        let (trace_id, span_id) = ((random() | 1).to_be_bytes(), (random() as u64 | 1).to_be_bytes());
        let (parent, state) = parent.unzip();
        let trace_id = parent.map_or(trace_id, |parent| parent.trace_id);
        let is_sampled = sampler.samples(trace_id, parent.as_ref());
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex::encode_to_slice(trace_id, &mut header[3..35]).expect("16 bytes have 32 digits");
        hex::encode_to_slice(span_id, &mut header[36..52]).expect("8 bytes have 16 digits");
        header[54] = if is_sampled { b'1' } else { b'0' };
        let (parent, state) = (parent.map(|parent| parent.span_id), state.unwrap_or_default());
        Self { trace_id, span_id, parent, is_sampled, state, header }
    }

    /// `traceparent` for the endpoint.
    pub fn traceparent(&self) -> &str {
        std::str::from_utf8(&self.header).expect("digits and hyphens")
    }

    /// The trace as 32 digits.
    pub fn trace_digits(&self) -> &str {
        &self.traceparent()[3..35]
    }

    /// The span as 16 digits.
    pub fn span_digits(&self) -> &str {
        &self.traceparent()[36..52]
    }

    /// The fields for an endpoint or another server; one with an empty value is removed.
    pub fn fields(&self) -> [(&'static HeaderName, &str); 2] {
        [(&TRACEPARENT, self.traceparent()), (&TRACESTATE, &self.state)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_parent_is_read_as_the_standard_says() {
        let parent = |value: &str| ParentSpan::parse(value.as_bytes());
        let read = parent(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!((hex::encode(read.trace_id), hex::encode(read.span_id)), (TRACE.into(), SPAN.into()));
        for (value, is_sampled) in [
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(true)),
            // A later version may have more.
            (format!("cc-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01.what"), None),
            (format!("00-{TRACE}-{SPAN}-01-"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-{SPAN}-0"), None),
            (format!("00-{TRACE}{SPAN}--01x"), None),
            (format!("00.{TRACE}.{SPAN}.01"), None),
            (format!("0g-{TRACE}-{SPAN}-01"), None),
            (String::new(), None),
            ("é".repeat(40), None),
        ] {
            assert_eq!(parent(&value).map(|parent| parent.is_sampled), is_sampled, "{value}");
        }
    }

    #[test]
    fn a_state_is_passed_on_if_it_is_valid() {
        let (many, long) = (["a=1"; 33].join(","), "b=".to_owned() + &"x".repeat(257));
        for (fields, joined) in [
            (&[][..], ""),
            (&["a=1"], "a=1"),
            (&["a=1, b@c=x y ,,", "0d=~"], "a=1,b@c=x y,0d=~"),
            (&["a=1", "A=2"], ""),
            (&["a"], ""),
            (&["a=1=2"], ""),
            (&["=1"], ""),
            (&["a="], ""),
            (&["a=\u{e9}"], ""),
            (&[&many], ""),
            (&[&long], ""),
        ] {
            assert_eq!(join_state(fields.iter().map(|field| field.as_bytes())), joined, "{fields:?}");
        }
        let fields = ["a=".to_owned() + &"x".repeat(250), "b=".to_owned() + &"x".repeat(250)];
        let fields = |times: usize| fields.iter().cycle().take(times).map(|field| field.as_bytes());
        assert_eq!(join_state(fields(4)).len(), 4 * 252 + 3);
        assert_eq!(join_state(fields(5)), "", "1024 bytes are the limit");
    }

    #[test]
    fn a_span_without_a_parent_begins_a_trace() {
        let mut numbers = [2, 0x100].into_iter();
        let context = TraceContext::begin(None, Sampler::ratio(1.0, true), &mut || numbers.next().unwrap());
        assert_eq!(context.traceparent(), "00-00000000000000000000000000000003-0000000000000101-01");
        assert_eq!(
            (context.trace_digits(), context.span_digits()),
            ("00000000000000000000000000000003", "0000000000000101")
        );
        assert_eq!((context.parent, context.is_sampled), (None, true));
    }

    #[test]
    fn a_span_belongs_to_the_trace_of_its_parent() {
        let parent =
            |flags: &str| ParentSpan::parse(format!("00-{TRACE}-{SPAN}-{flags}").as_bytes()).unwrap();
        for (flags, ratio, is_parent_based, is_sampled) in [
            ("01", 0.0, true, true),
            ("00", 1.0, true, false),
            ("01", 0.0, false, false),
            ("00", 1.0, false, true),
        ] {
            let sampler = Sampler::ratio(ratio, is_parent_based);
            let context = TraceContext::begin(Some((parent(flags), "a=b".into())), sampler, &mut || 7);
            let flags = if is_sampled { "01" } else { "00" };
            assert_eq!(context.traceparent(), format!("00-{TRACE}-0000000000000007-{flags}"));
            assert_eq!(context.parent, Some(parent("00").span_id));
            assert_eq!(context.fields()[1], (&TRACESTATE, "a=b"));
        }
    }

    #[test]
    fn a_ratio_is_that_of_the_traces_and_decided_by_their_last_bytes() {
        let (mut number, mut sampled) = (1_u64, 0);
        let sampler = Sampler::ratio(0.25, false);
        for _ in 0..100_000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut trace_id = [0xff; 16];
            trace_id[8..].copy_from_slice(&number.to_be_bytes());
            sampled += u32::from(sampler.samples(trace_id, None));
        }
        assert!((24_500..25_500).contains(&sampled), "{sampled}");
        assert!(!Sampler::ratio(0.0, false).samples([0; 16], None));
        assert!(Sampler::ratio(1.0, false).samples([0xff; 16], None));
    }
}
