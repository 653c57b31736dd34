//! Linux capabilities of the process.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes `CAP_NET_BIND_SERVICE` effective if the process may have it, so that a user other than root can bind ports below 1024.
///
/// The binary in the image has it as permitted file capability. An effective one would need no call, but the kernel refuses to
/// execute such a binary where the capability is not allowed, as in a container that drops all capabilities. Applies to the
/// calling thread and the threads that it starts afterwards.
///
/// # Errors
/// The error of `capget` or `capset`.
pub fn allow_low_ports() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    let missing = sets.permitted & CapabilitySet::NET_BIND_SERVICE & !sets.effective;
    if !missing.is_empty() {
        sets.effective |= missing;
        set_capabilities(None, sets)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permitted_capability_becomes_effective_and_no_other() {
        // Capabilities belong to a thread: other tests are not affected.
        let thread = std::thread::spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective = CapabilitySet::empty();
            set_capabilities(None, sets).unwrap();
            allow_low_ports().unwrap();
            // Permitted if the test runs as root.
            assert_eq!(
                capabilities(None).unwrap().effective,
                sets.permitted & CapabilitySet::NET_BIND_SERVICE
            );
        });
        thread.join().unwrap();
    }
}
