//! The consistent hash ring of lua-resty-balancer (`resty.chash`), so that cookies set by ingress-nginx select the same
//! endpoints.

use crate::digest::{crc32, crc32_update};

/// Points of each endpoint on the ring.
const POINTS: usize = 160;

/// Points on a circle of 32 bits, each with the number of its endpoint.
#[derive(Debug)]
pub(crate) struct Ring(Box<[(u32, u32)]>);

impl Ring {
    /// The ring of endpoints with these names (`10.0.0.1:80`, `[fd00::1]:80`).
    pub(crate) fn new(names: impl ExactSizeIterator<Item = String>) -> Self {
        let mut points = Vec::with_capacity(names.len() * POINTS);
        for (index, name) in (0..).zip(names) {
            let base = !crc32(&name);
            let mut last = 0_u32;
            for _ in 0..POINTS {
                last = !crc32_update(base, &last.to_le_bytes());
                points.push((last, index));
            }
        }
        points.sort_unstable();
        Self(points.into())
    }

    /// The endpoint of a key. `None` on an empty ring.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.endpoints_after(crc32(key)).next()
    }

    /// The endpoints in the order of their points, from the first point at or after a hash all around the circle. The first of them is
    /// that of the hash.
    pub(crate) fn endpoints_after(&self, hash: u32) -> impl Iterator<Item = usize> {
        let at = self.0.partition_point(|(point, _)| *point < hash);
        self.0[at..].iter().chain(&self.0[..at]).map(|(_, index)| *index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["10.184.7.40:8080", "10.184.97.100:8080", "10.184.98.239:8080"];

    #[test]
    fn a_key_keeps_its_endpoint_when_another_one_is_removed() {
        let names = || NAMES.iter().map(|name| name.to_string());
        let all = Ring::new(names());
        let fewer = Ring::new(names().take(2));
        for n in 0..1000 {
            let key = format!("1594287612.{n}.7.1234");
            if let Some(at @ 0..2) = all.find(&key) {
                assert_eq!(fewer.find(&key), Some(at), "{key}");
            }
        }
    }

    /// Computed with a transcription of lua-resty-balancer's `chash.lua` and `chash.c`.
    #[test]
    fn keys_select_the_same_endpoint_as_resty_chash() {
        let ring = Ring::new(
            NAMES
                .iter()
                .chain(&["[fd00::1]:8080"])
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
                .into_iter(),
        );
        for (key, endpoint) in [
            ("1594287612.345.7.42", 3),
            ("1594287613.345.7.42", 1),
            ("1700000000.001.33.999999", 2),
            ("session-17", 1),
            ("made-up", 1),
            ("", 2),
            ("zz", 0),
        ] {
            assert_eq!(ring.find(key), Some(endpoint), "{key}");
        }
    }

    #[test]
    fn keys_spread_over_all_endpoints() {
        let ring = Ring::new(NAMES.iter().map(|name| name.to_string()));
        let mut counts = [0; 3];
        for n in 0..3000 {
            counts[ring.find(&format!("key-{n}")).expect("the ring has points")] += 1;
        }
        assert!(counts.iter().all(|count| (600..1600).contains(count)), "{counts:?}");
        assert_eq!(Ring::new([].into_iter()).find("key"), None);
    }
}
