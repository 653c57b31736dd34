//! Figures as short texts.

/// A number with about three digits: `1,234`, `12.3`, `0.05`.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => "–".to_owned(),
        value if value >= 100.0 => grouped(value.round() as u64),
        value => {
            let text = format!("{value:.*}", if value >= 10.0 { 1 } else { 2 });
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 1 as a percentage.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{} %", number(share * 100.0)) } else { "–".to_owned() }
}

/// A time in seconds or milliseconds.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        value if !value.is_finite() => "–".to_owned(),
        value if value < 1.0 => format!("{} ms", number(value * 1000.0)),
        value => format!("{} s", number(value)),
    }
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: f64) -> String {
    if bytes > 0.0 { format!("{} MiB", number(bytes / 1_048_576.0)) } else { "–".to_owned() }
}

/// A duration in its two largest units.
pub(crate) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 0.054, 1.5, 12.34, 99.99, 100.0, 1234.4, 1_234_567.0, f64::NAN].map(number);
        assert_eq!(shown, ["0", "0.05", "1.5", "12.3", "100", "100", "1,234", "1,234,567", "–"]);
        assert_eq!([0.0004, 2.0, f64::NAN].map(seconds), ["0.4 ms", "2 s", "–"]);
        assert_eq!([0.125, f64::NAN].map(percent), ["12.5 %", "–"]);
        assert_eq!([0.0, 13.5 * 1_048_576.0].map(mebibytes), ["–", "13.5 MiB"]);
        assert_eq!([-1.0, 75.0, 7_300.0, 200_000.0].map(age), ["0 s", "1 min 15 s", "2 h 1 min", "2 d 7 h"]);
    }
}
