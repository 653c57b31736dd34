//! Datagrams that the kernel dropped because the receive queue of a socket was full.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::Socket;
use telemetry::metrics::Registry;

/// Exports `portolan_dns_udp_dropped_total`, which is read from the sockets at each scrape.
pub(crate) struct DropCounts(Arc<Mutex<Vec<Counted>>>);

/// A socket and the address it is bound to.
struct Counted {
    address: String,
    socket: Weak<Socket>,
}

impl DropCounts {
    pub(crate) fn new(metrics: &Registry) -> Self {
        let sockets = Arc::new(Mutex::new(Vec::<Counted>::new()));
        let read = sockets.clone();
        metrics.callback_counters(
            "portolan_dns_udp_dropped_total",
            "Datagrams that the kernel dropped because the receive queue of the socket was full.",
            ["address"],
            move |sink| {
                let mut sums = BTreeMap::new();
                for Counted { address, socket } in read.lock().unwrap_or_else(PoisonError::into_inner).iter()
                {
                    let Some(socket) = socket.upgrade() else { continue };
                    *sums.entry(address.clone()).or_insert(0) += u64::from(dropped(&socket).unwrap_or(0));
                }
                for (address, sum) in sums {
                    sink([&address], sum as f64);
                }
            },
        );
        Self(sockets)
    }

    /// Adds the sockets of an address. Closed sockets are removed.
    pub(crate) fn add(&self, address: SocketAddr, sockets: &[Arc<Socket>]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|counted| counted.socket.strong_count() > 0);
        let address = address.to_string();
        known.extend(
            sockets.iter().map(|socket| Counted { address: address.clone(), socket: Arc::downgrade(socket) }),
        );
    }
}

/// How many datagrams were dropped since the socket was opened (`SO_MEMINFO`, linux/sock_diag.h).
fn dropped(socket: &Socket) -> io::Result<u32> {
    /// Not in every version of libc's headers; the same on all architectures but parisc and sparc.
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut values = [0_u32; DROPS + 1];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the array, which is that long and outlives the call.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if got == 0 { Ok(values[DROPS]) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn dropped_datagrams_are_counted_while_the_socket_is_open() {
        let metrics = Registry::new();
        let counts = DropCounts::new(&metrics);
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = receiver.local_addr().unwrap();
        let receiver = Arc::new(Socket::from(receiver));
        receiver.set_recv_buffer_size(4096).unwrap();
        counts.add(address, std::slice::from_ref(&receiver));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(&[0; 1000], address).unwrap();
        }
        let dropped = u64::from(dropped(&receiver).unwrap());
        assert!((900..1000).contains(&dropped), "{dropped}");
        let line = format!("portolan_dns_udp_dropped_total{{address=\"{address}\"}} {dropped}\n");
        assert!(metrics.text().contains(&line), "{line} in {}", metrics.text());
        drop(receiver);
        assert!(!metrics.text().contains("portolan_dns_udp_dropped_total{"));
    }
}
