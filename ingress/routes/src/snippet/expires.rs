//! `expires`: the fields `Expires` and `Cache-Control`.

use std::time::{Duration, UNIX_EPOCH};

use crate::plan::head_edits::HeadEdits;
use crate::settings::parse_time;

/// The value of the fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expires {
    /// They are left as they are.
    Off,
    Epoch,
    Max,
    /// So long after the request.
    In(Duration),
    /// So long before it.
    Ago(Duration),
}

impl Expires {
    /// `off`, `epoch`, `max` or a time, which may be negative.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "off" => Self::Off,
            "epoch" => Self::Epoch,
            "max" => Self::Max,
            text => match text.strip_prefix('-') {
                Some(time) => Self::Ago(parse_time(time)?),
                None => Self::In(parse_time(text.strip_prefix('+').unwrap_or(text))?),
            },
        })
    }

    /// Sets both fields. `now` is the Unix time.
    pub(crate) fn edit(self, now: Duration, edits: &mut HeadEdits<'_>) {
        let date = |time: Option<Duration>| {
            // httpdate writes dates up to the year 9999.
            let last = Duration::from_secs(253_402_300_799);
            let time = time.unwrap_or_default().min(last);
            httpdate::fmt_http_date(UNIX_EPOCH + time).into_bytes()
        };
        let (expires, cache_control) = match self {
            Self::Off => return,
            Self::Epoch => (b"Thu, 01 Jan 1970 00:00:01 GMT".to_vec(), "no-cache".to_owned()),
            Self::Max => (b"Thu, 31 Dec 2037 23:55:55 GMT".to_vec(), "max-age=315360000".to_owned()),
            Self::In(time) => (date(now.checked_add(time)), format!("max-age={}", time.as_secs())),
            Self::Ago(time) => (date(now.checked_sub(time)), "no-cache".to_owned()),
        };
        edits.set("Expires", expires);
        edits.set("Cache-Control", cache_control.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_nginx() {
        let now = Duration::from_secs(1_700_000_000);
        for (text, expires, cache_control) in [
            ("epoch", "Thu, 01 Jan 1970 00:00:01 GMT", "no-cache"),
            ("max", "Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000"),
            ("1h", "Tue, 14 Nov 2023 23:13:20 GMT", "max-age=3600"),
            ("+30", "Tue, 14 Nov 2023 22:13:50 GMT", "max-age=30"),
            ("0", "Tue, 14 Nov 2023 22:13:20 GMT", "max-age=0"),
            ("-1", "Tue, 14 Nov 2023 22:13:19 GMT", "no-cache"),
            ("-99y", "Thu, 01 Jan 1970 00:00:00 GMT", "no-cache"),
            ("9999999y", "Fri, 31 Dec 9999 23:59:59 GMT", "max-age=315359968464000"),
        ] {
            let mut edits = HeadEdits::default();
            Expires::parse(text).expect(text).edit(now, &mut edits);
            assert_eq!(edits.value("expires"), Some(expires.as_bytes()), "{text}");
            assert_eq!(edits.value("cache-control"), Some(cache_control.as_bytes()), "{text}");
        }
        let mut edits = HeadEdits::default();
        Expires::Off.edit(now, &mut edits);
        assert!(edits.is_empty());
        for odd in ["", "x", "--1", "@15h", "modified", "$time"] {
            assert_eq!(Expires::parse(odd), None, "{odd}");
        }
    }
}
