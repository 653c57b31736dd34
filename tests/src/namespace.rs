//! Network and mount namespaces for tests: Pod and Service addresses are local, port 53 is free and `/etc/resolv.conf` can
//! be replaced, without an effect on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Ranges that are routed to the loopback interface: every address in them can be bound and reached.
/// The last is one that no cluster has (RFC 5737), of whose network `upstream` has other addresses.
const RANGES: [&str; 5] =
    ["10.244.0.0/16", "10.96.0.0/16", "fd00:10:244::/64", "fd00:10:96::/108", "192.0.2.9/32"];

/// An address of the loopback interface outside 127.0.0.0/8, for programs that look for a non-loopback address.
pub const OWN_ADDRESS: &str = "10.244.0.2";

/// The folder of a Pod's service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Moves this process and its future children into new network and mount namespaces, which it cannot leave.
///
/// Without root privileges it creates a user namespace first. Has to be called before any thread is started, because the
/// kernel moves only the calling thread. The error tells what is missing.
pub fn enter() -> Result<(), String> {
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let (user, group) = (geteuid(), getegid());
    match unshare(own) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            unshare(own | CloneFlags::CLONE_NEWUSER).map_err(|error| {
                format!(
                    "network and user namespaces: {error}; this requires root, or a kernel that allows unprivileged \
                     user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)"
                )
            })?;
            write("/proc/self/setgroups", "deny")?;
            write("/proc/self/uid_map", &format!("0 {user} 1"))?;
            write("/proc/self/gid_map", &format!("0 {group} 1"))?;
        }
        Err(error) => return Err(format!("network namespaces: {error}")),
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("private mounts: {error}"))?;

    ip(&["link", "set", "lo", "up"])?;
    for range in RANGES {
        ip(&["route", "add", "local", range, "dev", "lo"])?;
    }
    // The second one is needed because the C library queries AAAA only if the host has an IPv6 address (AI_ADDRCONFIG).
    for own in [&format!("{OWN_ADDRESS}/32"), "fd00:10:244::2/128"] {
        ip(&["address", "add", own, "dev", "lo"])?;
    }

    // The folder of the service account must not be created on the machine's disk.
    let resolver = resolver_file();
    mount(Some("tmpfs"), "/var/run", Some("tmpfs"), MsFlags::empty(), none)
        .map_err(|error| format!("an empty /var/run: {error}"))?;
    fs::create_dir_all(SERVICE_ACCOUNT).map_err(|error| format!("{SERVICE_ACCOUNT}: {error}"))?;
    if !resolver.exists() {
        let folder = resolver.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        write(&resolver.to_string_lossy(), "")?;
    }
    Ok(())
}

/// A file mounted over `/etc/resolv.conf` until this value is dropped.
pub struct ResolvConf {
    target: PathBuf,
}

impl ResolvConf {
    /// Replaces the resolver settings in this mount namespace. The file is stored in `folder`.
    pub fn mount(text: &str, folder: &Path) -> ResolvConf {
        let target = resolver_file();
        let file = folder.join("resolv.conf");
        fs::write(&file, text).expect("the scratch folder is writable");
        let none: Option<&str> = None;
        mount(Some(&file), &target, none, MsFlags::MS_BIND, none)
            .expect("root of this mount namespace may bind mount");
        ResolvConf { target }
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        // Lazy unmount: a program may still have the file open.
        let _ = umount2(&self.target, MntFlags::MNT_DETACH);
    }
}

/// The target of `/etc/resolv.conf`, which is often a symbolic link into `/run`.
fn resolver_file() -> PathBuf {
    let path = Path::new("/etc/resolv.conf");
    match fs::read_link(path) {
        Ok(link) => Path::new("/etc").join(link),
        Err(_) => path.to_owned(),
    }
}

/// Runs iproute2's `ip` in the calling thread's network namespace.
pub(crate) fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| format!("`ip` (Debian package iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}
