//! Limits of connections, derived from the descriptor limit of the process: a flood of one kind of connection leaves descriptors
//! for the other kinds.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors reserved for everything but client and upstream connections: listeners, the admin listener, watches of the
/// API server, files, name resolution.
const RESERVE: usize = 256;

/// How many connections of each kind the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorShares {
    /// Client connections.
    pub clients: usize,
    /// Upstream connections, in use and idle.
    pub upstreams: usize,
}

impl DescriptorShares {
    /// The shares under a limit of open files. What remains after the reserve is divided: three sevenths for clients, four
    /// sevenths for upstreams. Every client connection can then have a request at an upstream, even if all requests go to
    /// one upstream, which may use no more than three quarters of the upstreams' share.
    pub fn of(limit: usize) -> Self {
        let usable = limit - RESERVE.min(limit / 4);
        let clients = usable / 7 * 3;
        Self { clients, upstreams: usable - clients }
    }

    /// The shares under the limit of this process (`RLIMIT_NOFILE`).
    pub fn of_process() -> Self {
        Self::of(limit())
    }
}

/// The soft limit of open files; 1,024 if it cannot be read.
pub fn limit() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard limit, as Go does at startup and ingress-nginx with `worker_rlimit_nofile`. Container
/// runtimes start processes with a soft limit of 1,024 (for programs that use `select`), and a proxied request needs two
/// sockets. Must be called before [`limit`] is used.
///
/// # Errors
/// The error of `getrlimit` or `setrlimit`.
pub fn raise_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// Whether an operation failed because the process (`EMFILE`) or the system (`ENFILE`) has no free descriptor.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == nix::libc::EMFILE || code == nix::libc::ENFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_every_client_can_use_an_upstream() {
        for (limit, clients, upstreams) in
            [(1024, 327, 441), (20_000, 8460, 11_284), (64, 18, 30), (3, 0, 3), (0, 0, 0)]
        {
            assert_eq!(DescriptorShares::of(limit), DescriptorShares { clients, upstreams }, "{limit}");
            assert!(clients <= upstreams * 3 / 4, "{limit}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
        raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(limit() as u64, hard);
    }
}
