//! How long the response to a subrequest may be used again: nginx's `proxy_cache_valid` and the fields that override it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

static X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// Allows a cache to answer a subrequest.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRule {
    /// Subrequests with the same key have the same response.
    pub key: String,
    /// How long responses are valid, the first that matches.
    pub validity: Arc<[Validity]>,
}

/// How long responses of some statuses are valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Validity {
    /// The statuses; empty for all.
    pub statuses: Vec<u16>,
    /// For how long.
    pub time: Duration,
}

impl CacheRule {
    /// How long a response that came at a Unix time is valid; zero if it must not be used again.
    pub fn lifetime(&self, status: StatusCode, headers: &HeaderMap, now: Duration) -> Duration {
        // nginx keeps a variant for each value of the fields that Vary names.
        if headers.contains_key(SET_COOKIE) || headers.contains_key(VARY) {
            return Duration::ZERO;
        }
        if let Some(time) = headers.get(&X_ACCEL_EXPIRES).and_then(|value| accel_expires(value, now)) {
            return time;
        }
        if let Some(time) = cache_control(headers.get_all(CACHE_CONTROL).iter()) {
            return time;
        }
        if let Some(expires) = headers.get(EXPIRES) {
            let time = expires.to_str().ok().and_then(|value| httpdate::parse_http_date(value).ok());
            let time = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            return time.unwrap_or_default().saturating_sub(now);
        }
        let is_meant = |one: &&Validity| one.statuses.is_empty() || one.statuses.contains(&status.as_u16());
        self.validity.iter().find(is_meant).map_or(Duration::ZERO, |one| one.time)
    }
}

/// Seconds, or a Unix time after `@`.
fn accel_expires(value: &HeaderValue, now: Duration) -> Option<Duration> {
    let value = value.to_str().ok()?;
    match value.strip_prefix('@') {
        Some(time) => Some(Duration::from_secs(time.parse().ok()?).saturating_sub(now)),
        None => Some(Duration::from_secs(value.parse().ok()?)),
    }
}

/// What `Cache-Control` says about the time, if anything (RFC 9111 §5.2.2). `s-maxage` comes before `max-age`.
fn cache_control<'v>(values: impl Iterator<Item = &'v HeaderValue>) -> Option<Duration> {
    let (mut shared, mut all) = (None, None);
    for value in values {
        let text = value.to_str().unwrap_or("no-store").to_ascii_lowercase();
        for directive in text.split(',').map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || Duration::from_secs(argument.trim_matches('"').parse().unwrap_or(0));
            match name {
                "no-cache" | "no-store" | "private" => return Some(Duration::ZERO),
                "s-maxage" => shared = Some(seconds()),
                "max-age" => all = Some(seconds()),
                _ => {}
            }
        }
    }
    shared.or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_valid_as_long_as_in_nginx() {
        let minute = Duration::from_secs(60);
        let rule = CacheRule {
            key: "k".into(),
            validity: Arc::new([
                Validity { statuses: vec![200, 401], time: minute },
                Validity { statuses: vec![403], time: Duration::from_secs(5) },
            ]),
        };
        let now = Duration::from_secs(1_800_000_000);
        for (status, fields, seconds) in [
            (200, &[][..], 60),
            (401, &[], 60),
            (403, &[], 5),
            (202, &[], 0),
            (500, &[], 0),
            (200, &[("set-cookie", "a=b")], 0),
            (200, &[("vary", "accept")], 0),
            (200, &[("cache-control", "no-cache")], 0),
            (200, &[("cache-control", "public"), ("cache-control", "Private, max-age=9")], 0),
            (200, &[("cache-control", "max-age=9")], 9),
            (202, &[("cache-control", "max-age=9, s-maxage=7")], 7),
            (200, &[("cache-control", "max-age=x")], 0),
            (200, &[("cache-control", "public")], 60),
            (200, &[("x-accel-expires", "0"), ("cache-control", "max-age=9")], 0),
            (200, &[("x-accel-expires", "3")], 3),
            (200, &[("x-accel-expires", "@1800000008")], 8),
            (200, &[("x-accel-expires", "@1700000000")], 0),
            (200, &[("expires", "Fri, 15 Jan 2027 08:00:30 GMT")], 30),
            (200, &[("expires", "0")], 0),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(
                rule.lifetime(StatusCode::from_u16(status).unwrap(), &headers, now).as_secs(),
                seconds,
                "{status} {fields:?}"
            );
        }
        let any =
            CacheRule { key: String::new(), validity: [Validity { statuses: vec![], time: minute }].into() };
        assert_eq!(any.lifetime(StatusCode::BAD_GATEWAY, &HeaderMap::new(), now), minute);
    }
}
