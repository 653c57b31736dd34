//! Hash rings of subsets of endpoints (`upstream-hash-by-subset`), as ingress-nginx makes them: the rings have the names of subsets, so
//! only their number matters.

use std::sync::OnceLock;

use super::ring::Ring;

/// The rings of a pool, each made for the first request that needs it. A pool needs a second one only if the size of its subsets
/// changes while its endpoints stay the same; there are never more than endpoints.
#[derive(Debug, Default)]
pub(super) struct SubsetRings(OnceLock<Box<SubsetRing>>);

#[derive(Debug)]
struct SubsetRing {
    /// The number of subsets.
    count: usize,
    ring: Ring,
    next: SubsetRings,
}

impl SubsetRings {
    /// The subset of a hash among `count`, from 0. `None` if there are none. Hot: no lock, and no allocation once the ring is made.
    pub(super) fn find(&self, hash: u32, count: usize) -> Option<usize> {
        let mut rings = self;
        loop {
            let known = rings.0.get_or_init(|| Box::new(SubsetRing::new(count)));
            if known.count == count {
                return known.ring.endpoints_after(hash).next();
            }
            rings = &known.next;
        }
    }
}

impl SubsetRing {
    fn new(count: usize) -> Self {
        let ring = Ring::new((1..count + 1).map(|number| format!("set{number}")));
        Self { count, ring, next: SubsetRings::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::crc32;

    #[test]
    fn each_number_of_subsets_has_its_ring() {
        let rings = SubsetRings::default();
        let of = |count: usize| {
            (0..300).map(|n| rings.find(crc32(&format!("key-{n}")), count)).collect::<Vec<_>>()
        };
        let (two, three) = (of(2), of(3));
        assert_eq!(two, of(2));
        for (subsets, count) in [(two, 2), (three, 3)] {
            for subset in 0..count {
                assert!(
                    subsets.iter().filter(|found| **found == Some(subset)).count() > 60,
                    "{subset} of {count}"
                );
            }
        }
        assert_eq!(of(0), vec![None; 300]);
    }
}
