//! The header names that the proxy or its filters look up, recognised while a head is parsed.

use http::HeaderName;

/// How many names there may be: a set of them is one integer.
const MAX_HEADERS: usize = 128;

macro_rules! known_headers {
    ($($variant:ident $name:literal,)*) => {
        /// A header name that can be looked up without a search.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum KnownHeader {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl KnownHeader {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            const NAMES: &[&str] = &[$($name),*];
        }

        static HEADER_NAMES: [HeaderName; KnownHeader::ALL.len()] = [$(HeaderName::from_static($name)),*];
    };
}

known_headers! {
    Accept "accept",
    AcceptCharset "accept-charset",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    AcceptRanges "accept-ranges",
    AccessControlAllowCredentials "access-control-allow-credentials",
    AccessControlAllowHeaders "access-control-allow-headers",
    AccessControlAllowMethods "access-control-allow-methods",
    AccessControlAllowOrigin "access-control-allow-origin",
    AccessControlExposeHeaders "access-control-expose-headers",
    AccessControlMaxAge "access-control-max-age",
    AccessControlRequestHeaders "access-control-request-headers",
    AccessControlRequestMethod "access-control-request-method",
    Age "age",
    Allow "allow",
    AltSvc "alt-svc",
    Authorization "authorization",
    CacheControl "cache-control",
    CdnLoop "cdn-loop",
    Connection "connection",
    ContentDisposition "content-disposition",
    ContentEncoding "content-encoding",
    ContentLanguage "content-language",
    ContentLength "content-length",
    ContentLocation "content-location",
    ContentRange "content-range",
    ContentSecurityPolicy "content-security-policy",
    ContentType "content-type",
    Cookie "cookie",
    Date "date",
    Dnt "dnt",
    Etag "etag",
    Expect "expect",
    Expires "expires",
    Forwarded "forwarded",
    GrpcAcceptEncoding "grpc-accept-encoding",
    GrpcEncoding "grpc-encoding",
    GrpcMessage "grpc-message",
    GrpcStatus "grpc-status",
    GrpcTimeout "grpc-timeout",
    Host "host",
    IfMatch "if-match",
    IfModifiedSince "if-modified-since",
    IfNoneMatch "if-none-match",
    IfRange "if-range",
    IfUnmodifiedSince "if-unmodified-since",
    KeepAlive "keep-alive",
    LastModified "last-modified",
    Link "link",
    Location "location",
    MaxForwards "max-forwards",
    Origin "origin",
    Pragma "pragma",
    Priority "priority",
    Proxy "proxy",
    ProxyAuthenticate "proxy-authenticate",
    ProxyAuthorization "proxy-authorization",
    ProxyConnection "proxy-connection",
    Range "range",
    Referer "referer",
    ReferrerPolicy "referrer-policy",
    Refresh "refresh",
    RetryAfter "retry-after",
    SecChUa "sec-ch-ua",
    SecChUaMobile "sec-ch-ua-mobile",
    SecChUaPlatform "sec-ch-ua-platform",
    SecFetchDest "sec-fetch-dest",
    SecFetchMode "sec-fetch-mode",
    SecFetchSite "sec-fetch-site",
    SecFetchUser "sec-fetch-user",
    SecGpc "sec-gpc",
    SecWebsocketAccept "sec-websocket-accept",
    SecWebsocketExtensions "sec-websocket-extensions",
    SecWebsocketKey "sec-websocket-key",
    SecWebsocketProtocol "sec-websocket-protocol",
    SecWebsocketVersion "sec-websocket-version",
    Server "server",
    SetCookie "set-cookie",
    SslClientCert "ssl-client-cert",
    SslClientIssuerDn "ssl-client-issuer-dn",
    SslClientSubjectDn "ssl-client-subject-dn",
    SslClientVerify "ssl-client-verify",
    Status "status",
    StrictTransportSecurity "strict-transport-security",
    Te "te",
    Traceparent "traceparent",
    Tracestate "tracestate",
    Trailer "trailer",
    TransferEncoding "transfer-encoding",
    Upgrade "upgrade",
    UpgradeInsecureRequests "upgrade-insecure-requests",
    UserAgent "user-agent",
    Vary "vary",
    Via "via",
    WwwAuthenticate "www-authenticate",
    XAccelBuffering "x-accel-buffering",
    XAccelCharset "x-accel-charset",
    XAccelExpires "x-accel-expires",
    XAccelLimitRate "x-accel-limit-rate",
    XAccelRedirect "x-accel-redirect",
    XAuthRequestRedirect "x-auth-request-redirect",
    XContentTypeOptions "x-content-type-options",
    XForwardedFor "x-forwarded-for",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedPrefix "x-forwarded-prefix",
    XForwardedProto "x-forwarded-proto",
    XForwardedScheme "x-forwarded-scheme",
    XForwardedServer "x-forwarded-server",
    XFrameOptions "x-frame-options",
    XOriginalForwardedFor "x-original-forwarded-for",
    XOriginalForwardedHost "x-original-forwarded-host",
    XOriginalMethod "x-original-method",
    XOriginalUrl "x-original-url",
    XPad "x-pad",
    XPortolanFollow "x-portolan-follow",
    XPoweredBy "x-powered-by",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    XRequestedWith "x-requested-with",
    XScheme "x-scheme",
    XSentFrom "x-sent-from",
    XXssProtection "x-xss-protection",
}

/// The slots of the perfect hash table.
const SLOTS: usize = 512;
/// Found by trial: no two names get the same slot, which the compiler checks.
const MULTIPLIER: u32 = 0x1d87_9d59;

static TABLE: [Option<KnownHeader>; SLOTS] = {
    assert!(KnownHeader::ALL.len() <= MAX_HEADERS);
    let mut table = [None; SLOTS];
    let mut at = 0;
    while at < KnownHeader::ALL.len() {
        let name = KnownHeader::NAMES[at].as_bytes();
        let slot = slot(name.len(), name[0], name[name.len() - 2], name[name.len() - 1]);
        assert!(table[slot].is_none(), "two names have the same slot: find another multiplier");
        table[slot] = Some(KnownHeader::ALL[at]);
        at += 1;
    }
    table
};

/// The slot of a name by its length, its first byte and its last two, in either letter case.
#[inline]
const fn slot(length: usize, first: u8, second_last: u8, last: u8) -> usize {
    let key = u32::from_le_bytes([length as u8, first | 0x20, second_last | 0x20, last | 0x20]);
    (key.wrapping_mul(MULTIPLIER) >> (32 - SLOTS.trailing_zeros())) as usize
}

impl KnownHeader {
    /// The known header of this name, in any letter case.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Self> {
        let [first, .., second_last, last] = name else {
            // Only `TE` is so short.
            return if name.eq_ignore_ascii_case(b"te") { Some(Self::Te) } else { None };
        };
        let candidate = TABLE[slot(name.len(), *first, *second_last, *last)]?;
        equal(candidate.name().as_bytes(), name).then_some(candidate)
    }

    /// The name in lower case.
    #[inline]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The name as the `http` crate has it.
    #[inline]
    pub fn header_name(self) -> &'static HeaderName {
        &HEADER_NAMES[self as usize]
    }
}

/// Whether a name is a known one, whose letters are in lower case, in any letter case.
#[inline]
fn equal(known: &[u8], name: &[u8]) -> bool {
    if known.len() != name.len() {
        return false;
    }
    if let (Some(known_start), Some(name_start)) = (known.first_chunk::<8>(), name.first_chunk::<8>())
        && let (Some(known_end), Some(name_end)) = (known.last_chunk::<8>(), name.last_chunk::<8>())
    {
        let is_equal = equal_word(*known_start, *name_start) & equal_word(*known_end, *name_end);
        // Most names have 16 bytes at most: the two words overlap or meet.
        return is_equal && (known.len() <= 16 || equal_words(known, name));
    }
    if let (Some(known_start), Some(name_start)) = (known.first_chunk::<4>(), name.first_chunk::<4>())
        && let (Some(known_end), Some(name_end)) = (known.last_chunk::<4>(), name.last_chunk::<4>())
    {
        let pair = |start: &[u8; 4], end: &[u8; 4]| {
            u64::from(u32::from_le_bytes(*start)) << 32 | u64::from(u32::from_le_bytes(*end))
        };
        let (known, name) = (pair(known_start, known_end), pair(name_start, name_end));
        return equal_word(known.to_le_bytes(), name.to_le_bytes());
    }
    known.iter().zip(name).all(|(known, name)| *known == *name | (*known & 0x40) >> 1)
}

/// Compares all whole words of two names of the same length.
fn equal_words(known: &[u8], name: &[u8]) -> bool {
    let (known, name) = (known.as_chunks::<8>().0, name.as_chunks::<8>().0);
    known.iter().zip(name).all(|(known, name)| equal_word(*known, *name))
}

/// Compares eight bytes. Only letters of the known name have the bit 0x40; the bit 0x20 of the other name is ignored there.
#[inline]
fn equal_word(known: [u8; 8], name: [u8; 8]) -> bool {
    let (known, name) = (u64::from_le_bytes(known), u64::from_le_bytes(name));
    known == name | (known & u64::from_le_bytes([0x40; 8])) >> 1
}

/// A set of known headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u128);

impl KnownSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// The set of these headers.
    pub const fn of(headers: &[KnownHeader]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < headers.len() {
            set |= 1 << headers[at] as u8;
            at += 1;
        }
        Self(set)
    }

    /// Whether the header is in the set.
    #[inline]
    pub const fn has(self, header: KnownHeader) -> bool {
        self.0 >> header as u8 & 1 == 1
    }

    /// Adds a header.
    #[inline]
    pub const fn insert(&mut self, header: KnownHeader) {
        self.0 |= 1 << header as u8;
    }

    /// The headers that are in one of the sets.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The headers of this set that are not in the other.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is a header that both sets have.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_in_any_letter_case_and_no_other_name_is() {
        for header in KnownHeader::ALL {
            let name = header.name();
            assert_eq!(header.header_name(), name);
            let mixed: String = name
                .char_indices()
                .map(|(at, letter)| if at % 2 == 0 { letter.to_ascii_uppercase() } else { letter })
                .collect();
            for spelled in [name, &name.to_ascii_uppercase(), &mixed] {
                assert_eq!(KnownHeader::of(spelled.as_bytes()), Some(*header), "{spelled}");
            }
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.as_bytes().to_vec();
                    other[at] = byte;
                    let expected = KnownHeader::ALL
                        .iter()
                        .find(|header| other.eq_ignore_ascii_case(header.name().as_bytes()));
                    assert_eq!(KnownHeader::of(&other), expected.copied(), "{other:?}");
                }
            }
            assert_ne!(KnownHeader::of(&name.as_bytes()[..name.len() - 1]), Some(*header));
            assert_eq!(KnownHeader::of(format!("{name}x").as_bytes()), None);
        }
        assert_eq!(KnownHeader::of(b""), None);
        assert_eq!(KnownHeader::of(b"a"), None);
    }

    #[test]
    fn a_set_has_what_was_inserted() {
        let last = *KnownHeader::ALL.last().unwrap();
        let mut set = KnownSet::of(&[KnownHeader::Accept]);
        assert!(set.has(KnownHeader::Accept) && !set.has(last));
        set.insert(last);
        assert!(set.has(last) && set.intersects(KnownSet::of(&[last])));
        assert!(!set.intersects(KnownSet::of(&[KnownHeader::Host])));
    }
}
