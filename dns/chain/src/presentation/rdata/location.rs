//! LOC: a place on earth (RFC 1876).

use crate::presentation::tokens::ZoneToken;

/// The equator and the prime meridian, in thousandths of a second of arc.
const ZERO: u32 = 1 << 31;
/// The altitude from which others are measured, in centimetres below the reference spheroid.
const LOWEST: i64 = 10_000_000;
/// The greatest size and precision in centimetres.
const MAX_SIZE: u64 = 9_000_000_000;
/// Size, horizontal and vertical precision of a record without them: 1 m, 10 km, 10 m (RFC 1876 §3).
const SIZES: [u8; 3] = [0x12, 0x16, 0x13];

/// `D [M [S]] N|S D [M [S]] E|W ALTITUDE [SIZE [HORIZONTAL [VERTICAL]]]` in wire form.
pub(super) fn read(tokens: &[ZoneToken<'_>]) -> Result<[u8; 16], String> {
    let mut words = tokens.iter().map(|token| token.text);
    let latitude = angle(&mut words, 90, ["N", "S"]).ok_or("no latitude such as 52 22 23.000 N")?;
    let longitude = angle(&mut words, 180, ["E", "W"]).ok_or("no longitude such as 4 53 32.000 E")?;
    let altitude = words.next().and_then(altitude).ok_or("no altitude such as -2.00m")?;
    let mut sizes = SIZES;
    for (size, word) in sizes.iter_mut().zip(&mut words) {
        *size = precision(word).ok_or_else(|| format!("{word:?} is not a size such as 10m"))?;
    }
    if let Some(extra) = words.next() {
        return Err(format!("unexpected {extra:?}"));
    }
    let mut data = [0; 16];
    data[1..4].copy_from_slice(&sizes);
    for (field, value) in data[4..].chunks_exact_mut(4).zip([latitude, longitude, altitude]) {
        field.copy_from_slice(&value.to_be_bytes());
    }
    Ok(data)
}

fn angle<'a>(words: &mut impl Iterator<Item = &'a str>, most: u32, [up, down]: [&str; 2]) -> Option<u32> {
    let degrees: u32 = words.next()?.parse().ok().filter(|degrees| *degrees <= most)?;
    let mut value = degrees * 3_600_000;
    let mut word = words.next()?;
    // Minutes, and seconds with three places.
    for (places, unit, limit) in [(0, 60_000, 3_600_000), (3, 1, 60_000)] {
        if !word.starts_with(|first: char| first.is_ascii_digit()) {
            break;
        }
        let part = decimal(word, places)?.checked_mul(unit).filter(|part| *part < limit)?;
        value += u32::try_from(part).ok()?;
        word = words.next()?;
    }
    let value = Some(value).filter(|value| *value <= most * 3_600_000)?;
    if word.eq_ignore_ascii_case(up) {
        Some(ZERO + value)
    } else {
        word.eq_ignore_ascii_case(down).then_some(ZERO - value)
    }
}

fn altitude(text: &str) -> Option<u32> {
    let metres = without_unit(text);
    let (sign, metres) = metres.strip_prefix('-').map_or((1, metres), |rest| (-1, rest));
    let centimetres = i64::try_from(decimal(metres, 2)?).ok()?;
    u32::try_from(LOWEST + sign * centimetres).ok()
}

/// A size as its first digit and a power of ten in centimetres.
fn precision(text: &str) -> Option<u8> {
    let mut digit = decimal(without_unit(text), 2).filter(|size| *size <= MAX_SIZE)?;
    let mut power = 0;
    while digit >= 10 {
        digit /= 10;
        power += 1;
    }
    Some((digit as u8) << 4 | power)
}

fn without_unit(text: &str) -> &str {
    text.strip_suffix(['m', 'M']).unwrap_or(text)
}

/// A decimal number in units of the last of that many places; what follows them is cut off.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if places > 0 && !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let is_number = |part: &str| part.len() <= 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = &format!("{fraction:0<places$}")[..places];
    format!("{whole}{fraction}").parse().ok()
}
