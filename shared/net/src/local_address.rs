//! Adds addresses to this host and removes them, by netlink (RFC 3549). Needs the capability NET_ADMIN.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

/// The interface that has the addresses if the kernel has no dummy interfaces.
const LOOPBACK: &str = "lo";

/// Addresses of this host that a program has added.
#[derive(Debug)]
pub struct LocalAddresses {
    interface: String,
    addresses: Vec<IpAddr>,
    /// Whether the addresses are on an interface of their own, which is removed with them.
    own_interface: bool,
}

impl LocalAddresses {
    /// Adds the addresses to a dummy interface of that name, which is created if needed. On a kernel without dummy interfaces they
    /// are added to the loopback interface; other hosts and Pods of this node reach them there as well. Addresses that exist already
    /// are no error.
    ///
    /// # Errors
    /// When the capability NET_ADMIN is missing, or an address is in use on another interface.
    pub fn add(interface: &str, addresses: Vec<IpAddr>) -> io::Result<Self> {
        let own_interface = match ensure_dummy(interface) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => false,
            Err(error) => return Err(error),
        };
        let interface = if own_interface { interface } else { LOOPBACK };
        let added = Self { interface: interface.to_owned(), addresses, own_interface };
        added.ensure()?;
        Ok(added)
    }

    /// The interface that has the addresses.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Adds what another program has removed meanwhile.
    ///
    /// # Errors
    /// As [`LocalAddresses::add`].
    pub fn ensure(&self) -> io::Result<()> {
        if self.own_interface {
            ensure_dummy(&self.interface)?;
        }
        let index = index(&self.interface)?;
        self.addresses.iter().try_for_each(|address| {
            match send(&address_message(Change::Add, index, *address)) {
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
                sent => sent,
            }
        })
    }

    /// Removes the addresses, and the interface if it was made for them.
    ///
    /// # Errors
    /// When the capability NET_ADMIN is missing, or another program has removed them.
    pub fn remove(&self) -> io::Result<()> {
        let index = index(&self.interface)?;
        if self.own_interface {
            return send(&link_message(libc::RTM_DELLINK, 0, index, 0, &[]));
        }
        self.addresses.iter().try_for_each(|address| send(&address_message(Change::Remove, index, *address)))
    }
}

fn index(interface: &str) -> io::Result<u32> {
    Ok(if_nametoindex(interface)?)
}

/// Creates a dummy interface unless there is an interface of that name, and enables it.
fn ensure_dummy(name: &str) -> io::Result<()> {
    if if_nametoindex(name).is_err() {
        let kind = attribute(libc::IFLA_INFO_KIND, b"dummy");
        let attributes = [
            attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()),
            attribute(libc::IFLA_LINKINFO, &kind),
        ];
        let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match send(&link_message(libc::RTM_NEWLINK, create, 0, 0, &attributes.concat())) {
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
            _ => {}
        }
    }
    send(&link_message(libc::RTM_NEWLINK, 0, index(name)?, libc::IFF_UP as u32, &[]))
}

/// A message about an interface (rtnetlink(7), `struct ifinfomsg`). Of the flags only those in `up` are changed.
fn link_message(kind: u16, flags: i32, index: u32, up: u32, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(attributes);
    message(kind, flags, &body)
}

/// The change of an address.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
}

/// A message about an address (rtnetlink(7), `struct ifaddrmsg`).
fn address_message(change: Change, index: u32, address: IpAddr) -> Vec<u8> {
    let (kind, flags) = match change {
        Change::Add => (libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL),
        Change::Remove => (libc::RTM_DELADDR, 0),
    };
    let (family, bytes) = match address {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    // The whole address is the prefix. The scope keeps the kernel from choosing it as source of other connections. An IPv6 address can
    // be used at once, without a search for duplicates.
    let mut body = vec![family as u8, bytes.len() as u8 * 8, libc::IFA_F_NODAD as u8, libc::RT_SCOPE_LINK];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &bytes));
    body.extend(attribute(libc::IFA_ADDRESS, &bytes));
    message(kind, flags, &body)
}

/// An attribute (netlink(7), `struct nlattr`), padded to four bytes.
fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::new();
    attribute.extend((4 + data.len() as u16).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(data);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// A message with its header (netlink(7), `struct nlmsghdr`), to be acknowledged.
fn message(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Sends a message to the kernel and waits for its acknowledgement.
fn send(message: &[u8]) -> io::Result<()> {
    let mut socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.write_all(message)?;
    let mut reply = [0; 4096];
    let length = socket.read(&mut reply)?;
    // A header, then the negative error number; 0 is success.
    let code = reply[..length].get(16..20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let message = address_message(Change::Add, 7, [169, 254, 20, 10].into());
        assert_eq!(message.len(), 16 + 8 + 8 + 8);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(message[16..20], [2, 32, 2, 253]);
        assert_eq!(message[20..24], 7_u32.to_ne_bytes());
        assert_eq!(message[28..32], [169, 254, 20, 10]);
        assert_eq!(attribute(3, b"lo\0").len(), 8, "attributes are padded");
    }

    #[test]
    fn an_interface_that_cannot_be_created_is_an_error() {
        let error =
            LocalAddresses::add("a-name-that-is-too-long", vec![[169, 254, 20, 10].into()]).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
