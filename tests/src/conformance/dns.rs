//! The resolver of a case: the names that `${SERVICE.dns}` stands for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::namespace::ResolvConf;

/// The domain of the names, which is also searched.
pub(super) const DOMAIN: &str = "conformance.example";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 53);
/// How often the thread looks whether it has to end.
const PAUSE: Duration = Duration::from_millis(100);

/// A name server, and `/etc/resolv.conf` that names it, until this value is dropped.
pub(super) struct CaseResolver {
    is_open: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _file: ResolvConf,
    _folder: TempDir,
}

impl CaseResolver {
    /// Answers `SERVICE.conformance.example` with an address.
    pub(super) fn start(addresses: BTreeMap<String, IpAddr>) -> io::Result<Self> {
        let socket = UdpSocket::bind((ADDRESS, 53))?;
        socket.set_read_timeout(Some(PAUSE))?;
        let folder = TempDir::new()?;
        let text = format!("nameserver {ADDRESS}\nsearch {DOMAIN}\noptions ndots:1\n");
        let file = ResolvConf::mount(&text, folder.path());
        let is_open = Arc::new(AtomicBool::new(true));
        let open = is_open.clone();
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 512];
            while open.load(Ordering::SeqCst) {
                let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
                if let Some(reply) = reply(&packet[..length], &addresses) {
                    let _ = socket.send_to(&reply, client);
                }
            }
        });
        Ok(Self { is_open, thread: Some(thread), _file: file, _folder: folder })
    }
}

impl Drop for CaseResolver {
    fn drop(&mut self) {
        self.is_open.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The reply to a query; `None` if it cannot be read.
fn reply(query: &[u8], addresses: &BTreeMap<String, IpAddr>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
    let question = query.get(12..at + 5)?;
    let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let name = labels.join(".");
    let found = name.strip_suffix(&format!(".{DOMAIN}")).and_then(|service| addresses.get(service));
    // A response with recursion available: NOERROR, or NXDOMAIN for unknown names.
    let code = if found.is_some() { 0x80 } else { 0x83 };
    let answer = found.filter(|address| is_a && address.is_ipv4());
    let mut reply = vec![query[0], query[1], 0x81, code, 0, 1, 0, u8::from(answer.is_some()), 0, 0, 0, 0];
    reply.extend_from_slice(question);
    if let Some(IpAddr::V4(address)) = answer {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
        reply.extend_from_slice(&address.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_answered() {
        let addresses = BTreeMap::from([("bin".to_owned(), IpAddr::from([10, 244, 1, 1]))]);
        let query = |name: &str, kind: u8| {
            let mut query = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                query.push(label.len() as u8);
                query.extend_from_slice(label.as_bytes());
            }
            query.extend_from_slice(&[0, 0, kind, 0, 1]);
            reply(&query, &addresses).unwrap()
        };
        let found = query("BIN.conformance.example", 1);
        assert_eq!((found[3], found[7], &found[found.len() - 4..]), (0x80, 1, &[10, 244, 1, 1][..]));
        assert_eq!(
            (query("bin.conformance.example", 28)[3], query("bin.conformance.example", 28)[7]),
            (0x80, 0)
        );
        assert_eq!(query("other.conformance.example", 1)[3], 0x83);
        assert_eq!(reply(&[0; 12], &addresses), None);
    }
}
