//! How the file descriptors of the process are shared out, so that a flood of one kind of connection leaves room for the others.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that no connection of a client or to an upstream may use: listeners, the admin listener, watches of the
/// API server, files, name resolution.
const RESERVE: usize = 256;

/// How many connections there may be, given the process's limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorShares {
    /// Connections of clients.
    pub clients: usize,
    /// Connections to upstreams, in use and idle.
    pub upstreams: usize,
}

impl DescriptorShares {
    /// The shares under a limit of open files: of what the reserve leaves, three sevenths for clients and four for
    /// upstreams. Every client can then have a request at an upstream, even if all of them want the same one and that one
    /// may have no more than three quarters of the upstreams' share.
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

/// The soft limit of open files; 1,024 where the system does not tell.
pub fn limit() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard one, as Go does at its start and ingress-nginx with `worker_rlimit_nofile`: container
/// runtimes start processes with 1,024 for the sake of programs that use `select`, and a proxied request needs two sockets.
/// Call it before anything asks for [`limit`].
///
/// # Errors
/// What the system answers when it refuses.
pub fn raise_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// Whether an operation failed because the process, or the system, has no descriptor left.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == nix::libc::EMFILE || code == nix::libc::ENFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_every_client_can_have_an_upstream() {
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
