//! Cookie affinity: the value of the cookie and its attributes.
//!
//! The value is `<key>|<backend key>`. In balanced mode the key is looked up on a hash ring, so any value selects an
//! endpoint; in persistent mode it identifies one endpoint.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cluster::CompactString;

/// How sticky a session is (`affinity-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AffinityMode {
    /// The cookie is a key on a hash ring: some sessions move when endpoints are added or removed.
    #[default]
    Balanced,
    /// The cookie identifies one endpoint: a session moves only when that endpoint is removed.
    Persistent,
}

/// `affinity: cookie` with its `session-cookie-*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Affinity {
    /// `affinity-mode`.
    pub mode: AffinityMode,
    /// `session-cookie-name`.
    pub name: CompactString,
    /// `session-cookie-path`; unset, the path of the rule.
    pub path: Option<CompactString>,
    /// `session-cookie-domain`.
    pub domain: Option<CompactString>,
    /// `session-cookie-expires`, in seconds from now.
    pub expires: Option<i64>,
    /// `session-cookie-max-age`, in seconds.
    pub max_age: Option<i64>,
    /// `session-cookie-samesite`, if browsers know the value.
    pub same_site: Option<&'static str>,
    /// `session-cookie-conditional-samesite-none`.
    pub conditional_same_site_none: bool,
    /// `session-cookie-secure`: also over plain HTTP.
    pub secure: bool,
    /// `session-cookie-change-on-failure`.
    pub change_on_failure: bool,
}

/// The affinity of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleAffinity {
    /// The cookie.
    pub affinity: Arc<Affinity>,
    /// The Ingress of the rule has the annotation. Otherwise the rule reads the cookie that another rule of the same
    /// Service sets, and sets none.
    pub sets_cookie: bool,
}

/// Properties of a request that decide about attributes of its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieContext {
    /// The request came over HTTPS.
    pub(crate) secure: bool,
    /// The browser reads `SameSite=None` as `Strict`.
    pub(crate) rejects_same_site_none: bool,
}

impl Affinity {
    /// The value of Set-Cookie, with the attributes in the order of ingress-nginx.
    pub(crate) fn set_cookie(
        &self,
        value: &str,
        rule_path: &str,
        client: CookieContext,
        now: Duration,
    ) -> String {
        let mut cookie = format!("{}={value}", self.name);
        if let Some(seconds) = self.expires {
            let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_add(seconds);
            cookie.push_str("; Expires=");
            cookie.push_str(&cookie_time(at));
        }
        if let Some(seconds) = self.max_age {
            cookie.push_str(&format!("; Max-Age={seconds}"));
        }
        if let Some(domain) = &self.domain {
            cookie.push_str("; Domain=");
            cookie.push_str(domain);
        }
        cookie.push_str("; Path=");
        cookie.push_str(self.path.as_deref().unwrap_or(rule_path));
        if self.secure || client.secure {
            cookie.push_str("; Secure");
        }
        cookie.push_str("; HttpOnly");
        let left_out = self.conditional_same_site_none && client.rejects_same_site_none;
        match self.same_site {
            Some("None") if left_out => {}
            Some(same_site) => cookie.extend(["; SameSite=", same_site]),
            None => {}
        }
        cookie
    }
}

/// Whether a browser rejects a cookie with `SameSite=None` or reads it as `Strict`
/// (chromium.org/updates/same-site/incompatible-clients, as ingress-nginx reads it).
pub(crate) fn rejects_same_site_none(user_agent: &str) -> bool {
    let has = |text: &str| user_agent.contains(text);
    ["Chrome/4", "Chrome/5", "Chrome/6", "CPU iPhone OS 12", "iPad; CPU OS 12"].into_iter().any(has)
        || has("Macintosh") && has("Intel Mac OS X 10_14") && has("Safari") && !has("Chrome")
}

/// A time in the format of nginx's `ngx_http_cookie_time`: a year of two digits until 2037, which old clients need.
fn cookie_time(unix: i64) -> String {
    // The format ends with the year 9999.
    let seconds = unix.clamp(0, 253_402_300_799).unsigned_abs();
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    // `Thu, 01 Jan 1970 00:00:00 GMT`
    let (weekday, day, month, time) = (&text[..5], &text[5..7], &text[8..11], &text[17..]);
    let year = if text[12..16] > *"2037" { &text[12..16] } else { &text[14..16] };
    format!("{weekday}{day}-{month}-{year} {time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Affinity {
        Affinity {
            mode: AffinityMode::Balanced,
            name: "route".into(),
            path: None,
            domain: None,
            expires: None,
            max_age: None,
            same_site: None,
            conditional_same_site_none: false,
            secure: false,
            change_on_failure: false,
        }
    }

    #[test]
    fn cookies_are_written_as_ingress_nginx_writes_them() {
        let now = Duration::from_secs(1_290_000_000);
        let http = CookieContext { secure: false, rejects_same_site_none: false };
        let https = CookieContext { secure: true, ..http };
        let old = CookieContext { rejects_same_site_none: true, ..http };
        let none = Affinity { same_site: Some("None"), ..plain() };
        let careful = Affinity { conditional_same_site_none: true, ..none.clone() };
        let full = Affinity {
            path: Some("/foo".into()),
            domain: Some("foo.bar".into()),
            expires: Some(172_800),
            max_age: Some(259_200),
            same_site: Some("Lax"),
            secure: true,
            ..plain()
        };
        for (affinity, client, cookie) in [
            (&plain(), http, "route=k|b; Path=/x; HttpOnly"),
            (&plain(), https, "route=k|b; Path=/x; Secure; HttpOnly"),
            (&none, old, "route=k|b; Path=/x; HttpOnly; SameSite=None"),
            (&careful, old, "route=k|b; Path=/x; HttpOnly"),
            (&careful, http, "route=k|b; Path=/x; HttpOnly; SameSite=None"),
            (
                &full,
                http,
                "route=k|b; Expires=Fri, 19-Nov-10 13:20:00 GMT; Max-Age=259200; Domain=foo.bar; Path=/foo; \
                 Secure; HttpOnly; SameSite=Lax",
            ),
        ] {
            assert_eq!(affinity.set_cookie("k|b", "/x", client, now), cookie);
        }
    }

    #[test]
    fn written_cookies_parse_to_what_was_configured() {
        let affinity = Affinity {
            path: Some("/foo".into()),
            domain: Some("foo.bar".into()),
            expires: Some(172_800),
            max_age: Some(259_200),
            same_site: Some("Strict"),
            secure: true,
            ..plain()
        };
        let client = CookieContext { secure: false, rejects_same_site_none: false };
        let now = Duration::from_secs(1_795_250_702);
        let written = affinity.set_cookie("1.2|b", "/x", client, now);
        let read = cookie::Cookie::parse(written).unwrap();
        assert_eq!((read.name(), read.value()), ("route", "1.2|b"));
        assert_eq!((read.path(), read.domain()), (Some("/foo"), Some("foo.bar")));
        assert_eq!((read.secure(), read.http_only()), (Some(true), Some(true)));
        assert_eq!(read.same_site(), Some(cookie::SameSite::Strict));
        assert_eq!(read.max_age().map(|age| age.whole_seconds()), Some(259_200));
        let expires = read.expires_datetime().map(|at| at.unix_timestamp());
        assert_eq!(expires, Some(1_795_250_702 + 172_800));
    }

    #[test]
    fn times_are_written_as_nginx_writes_them() {
        for (unix, text) in [
            (0, "Thu, 01-Jan-70 00:00:00 GMT"),
            (951_827_696, "Tue, 29-Feb-00 12:34:56 GMT"),
            (1_290_079_655, "Thu, 18-Nov-10 11:27:35 GMT"),
            (2_145_916_799, "Thu, 31-Dec-37 23:59:59 GMT"),
            (2_145_916_800, "Fri, 01-Jan-2038 00:00:00 GMT"),
            (i64::MAX, "Fri, 31-Dec-9999 23:59:59 GMT"),
            (-1, "Thu, 01-Jan-70 00:00:00 GMT"),
        ] {
            assert_eq!(cookie_time(unix), text);
        }
    }

    #[test]
    fn browsers_that_reject_same_site_none_are_recognised() {
        for (agent, rejects) in [
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/51.0.2704.103 Safari/537.36", true),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36", false),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X) Safari/604.1", true),
            ("Mozilla/5.0 (iPad; CPU OS 12_0 like Mac OS X) Safari/604.1", true),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) Version/12.1.2 Safari/605.1.15", true),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) Chrome/90.0 Safari/537.36", false),
            ("curl/8.0", false),
        ] {
            assert_eq!(rejects_same_site_none(agent), rejects, "{agent}");
        }
    }
}
