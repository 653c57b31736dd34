//! Values in Go's syntax, used in the Corefile and in flags.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a non-negative duration like `time.ParseDuration`. Errors have Go's wording.
pub fn duration(text: &str) -> Result<Duration, String> {
    match signed(text)? {
        (true, duration) if !duration.is_zero() => Err(format!("negative duration {text:?}")),
        (_, duration) => Ok(duration),
    }
}

/// Like [`duration`], but negative durations become zero.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    signed(text).map(|(negative, duration)| if negative { Duration::ZERO } else { duration })
}

/// Formats a duration like Go: `1h0m0s`, `5m0s`, `1.5s`, `500ms`, `0s`.
pub fn shown(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if minutes == 0 {
        return format!("{duration:?}");
    }
    let seconds = (duration - Duration::from_secs(60 * minutes)).as_secs_f64();
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Splits off the sign: whether it is negative, and the absolute value.
fn signed(text: &str) -> Result<(bool, Duration), String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let negated = text.strip_prefix('-');
    let mut rest = negated.or_else(|| text.strip_prefix('+')).unwrap_or(text);
    if rest == "0" {
        return Ok((negated.is_some(), Duration::ZERO));
    }
    let mut total: u64 = 0;
    loop {
        let (number, after) = split(rest, |ch| ch.is_ascii_digit() || ch == '.');
        let (unit, after) = split(after, |ch| !ch.is_ascii_digit() && ch != '.');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = scale.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(scale).and_then(|part| part.checked_add(fraction_of(fraction, scale)));
        let sum = part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= i64::MAX as u64);
        total = sum.ok_or_else(invalid)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Ok((negated.is_some(), Duration::from_nanos(total)))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|ch| !belongs(ch)).unwrap_or(text.len()))
}

/// Nanoseconds of the digits after the point; digits beyond nanoseconds are dropped.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let digits = &digits[..digits.len().min(15)];
    let value: u64 = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(0) };
    let divisor = 10u128.pow(digits.len() as u32);
    (u128::from(value) * u128::from(scale) / divisor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for text in
            ["0s", "1ns", "1.5µs", "500ms", "1s", "59.5s", "1m0s", "1m30.25s", "5m0s", "1h0m0s", "49h2m3s"]
        {
            assert_eq!(shown(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn durations_read_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0s", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("0.5s", 500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1.0000000001s", 1_000_000_000),
            ("100ns", 100),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("3h4m5.6s", 11_045_600_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, what) in [
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("30", "time: missing unit in duration \"30\""),
            (".", "time: invalid duration \".\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("s", "time: invalid duration \"s\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            ("1s5", "time: missing unit in duration \"1s5\""),
            ("--5s", "time: invalid duration \"--5s\""),
            ("-5s", "negative duration \"-5s\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("99999999999999999999s", "time: invalid duration \"99999999999999999999s\""),
        ] {
            assert_eq!(duration(text), Err(what.to_owned()), "{text}");
        }
        assert_eq!(duration_or_zero("-5s"), Ok(Duration::ZERO));
        assert_eq!(duration_or_zero("+5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration_or_zero("-5"), Err("time: missing unit in duration \"-5\"".to_owned()));
    }
}
