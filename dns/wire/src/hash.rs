//! Keyed hashing of names from the network.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// Hash of a lower-cased wire name, or of part of one.
///
/// Keyed with a secret of this process. Without it an attacker could choose names whose hashes collide. The same in all
/// threads, different after a restart.
pub fn hash(name: &[u8]) -> u64 {
    // Hot: no allocation.
    let mut hasher = seed().build_hasher();
    hasher.write(name);
    hasher.finish()
}

fn seed() -> &'static SeedableRandomState {
    static SHARED: OnceLock<SharedSeed> = OnceLock::new();
    static SEED: OnceLock<SeedableRandomState> = OnceLock::new();
    SEED.get_or_init(|| {
        // The standard library's state is keyed by the operating system's random numbers.
        let random = || std::hash::RandomState::new().hash_one(0);
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        SeedableRandomState::with_seed(random(), shared)
    })
}
