//! Sizes and times in the notation of nginx.

use std::time::Duration;

/// A size in bytes, or with `k`, `m` or `g` in either case. A final `b` means bytes, as for ingress-nginx.
pub(crate) fn parse_size(value: &str) -> Option<u64> {
    let (digits, shift) = match value.as_bytes().last()?.to_ascii_lowercase() {
        b'b' => (&value[..value.len() - 1], 0),
        b'k' => (&value[..value.len() - 1], 10),
        b'm' => (&value[..value.len() - 1], 20),
        b'g' => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let number = whole(digits)?;
    // Also an upper bound for sums of sizes.
    number.checked_mul(1 << shift).filter(|size| *size <= i64::MAX as u64)
}

/// A time in seconds, or of parts with units: `1h 30m`, `500ms`.
pub(crate) fn parse_time(value: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 7 * 86_400_000),
        ("M", 30 * 86_400_000),
        ("y", 365 * 86_400_000),
    ];
    let (mut rest, mut millis) = (value.trim(), 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let number = whole(&rest[..end])?;
        rest = &rest[end..];
        let end = rest.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(rest.len());
        // Only the last part may have no unit.
        let unit = match &rest[..end] {
            "" if rest.is_empty() => 1000,
            unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        millis = millis.checked_add(number.checked_mul(unit)?)?;
        rest = rest[end..].trim_start();
    }
    Some(Duration::from_millis(millis))
}

fn whole(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_nginx() {
        for (value, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("8k", 8192),
            ("1K", 1024),
            ("2m", 2 << 20),
            ("1M", 1 << 20),
            ("3g", 3 << 30),
            ("5b", 5),
        ] {
            assert_eq!(parse_size(value), Some(bytes), "{value}");
        }
        for odd in
            ["", "k", "-1", "+1", "1.5m", "8kb", "8 k", "99999999999999999999", "9999999999999g", "ä", "1ä"]
        {
            assert_eq!(parse_size(odd), None, "{odd}");
        }
    }

    #[test]
    fn times_are_those_of_nginx() {
        for (value, millis) in [
            ("0", 0),
            ("90", 90_000),
            ("240s", 240_000),
            ("1h", 3_600_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m 5", 65_000),
        ] {
            assert_eq!(parse_time(value), Some(Duration::from_millis(millis)), "{value}");
        }
        for odd in
            ["", " ", "s", "-1", "1 hour", "1.5h", "99999999999999999999", "9999999999999999y", "5 5s", "1h,"]
        {
            assert_eq!(parse_time(odd), None, "{odd}");
        }
    }
}
