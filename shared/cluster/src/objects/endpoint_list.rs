//! The endpoints of a slice, encoded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::Endpoint;

/// The endpoints of an EndpointSlice, in the order given.
///
/// Most objects of a cluster are endpoints, so they are encoded one after the other: an IPv4 endpoint of a Deployment takes 12 bytes, a
/// tenth of an [`Endpoint`]. Names of Pods share a prefix, which is stored once.
///
/// Layout: the common prefix of the Pod names, then for each endpoint the byte of flags and the fields that it announces, in the
/// order of the flags. A text is its length and its bytes; numbers are in LEB128.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EndpointList(Box<[u8]>);

/// An endpoint of an [`EndpointList`], from which it borrows its texts.
#[derive(Clone, Debug)]
pub struct EndpointRef<'a> {
    /// As [`Endpoint::addresses`].
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// As [`Endpoint::ready`].
    pub ready: bool,
    /// As [`Endpoint::hostname`].
    pub hostname: Option<&'a str>,
    /// As [`Endpoint::pod`].
    pub pod: Option<PodName<'a>>,
    /// As [`Endpoint::zone`].
    pub zone: u8,
    /// As [`Endpoint::hints`].
    pub hints: SmallVec<[u8; 1]>,
}

/// The name of a Pod: the part that it shares with the others of the list, and the rest.
#[derive(Clone, Copy, Debug)]
pub struct PodName<'a> {
    prefix: &'a [u8],
    rest: &'a [u8],
}

/// Flags of an endpoint. Without `V6` and `SEVERAL` it has one IPv4 address.
mod flag {
    pub(super) const READY: u8 = 1;
    pub(super) const V6: u8 = 2;
    /// The number of addresses follows, and each begins with its length.
    pub(super) const SEVERAL: u8 = 4;
    pub(super) const HOSTNAME: u8 = 8;
    pub(super) const POD: u8 = 16;
    pub(super) const ZONE: u8 = 32;
    /// The only hint is the zone of the endpoint, as in most clusters that have hints.
    pub(super) const OWN_HINT: u8 = 64;
    /// The number of hints follows, and then each.
    pub(super) const HINTS: u8 = 128;
}

/// Endpoints while they are encoded: on the stack, because the list gets an allocation of its exact size.
type Encoded = SmallVec<[u8; 512]>;

impl EndpointList {
    /// Encodes endpoints.
    pub fn new(endpoints: &[Endpoint<'_>]) -> Self {
        if endpoints.is_empty() {
            return Self::default();
        }
        let prefix = common_prefix(endpoints.iter().filter_map(|endpoint| endpoint.pod.as_deref()));
        let mut bytes = Encoded::new();
        put_text(&mut bytes, prefix);
        for endpoint in endpoints {
            put_endpoint(&mut bytes, endpoint, prefix.len());
        }
        Self(bytes.as_slice().into())
    }

    /// The endpoints.
    pub fn iter(&self) -> EndpointIter<'_> {
        let mut bytes = &*self.0;
        let prefix = take_text(&mut bytes).unwrap_or_default();
        EndpointIter { prefix, bytes }
    }

    /// Whether there are no endpoints.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The iterator of [`EndpointList::iter`].
#[derive(Clone, Debug)]
pub struct EndpointIter<'a> {
    prefix: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Iterator for EndpointIter<'a> {
    type Item = EndpointRef<'a>;

    fn next(&mut self) -> Option<EndpointRef<'a>> {
        let bytes = &mut self.bytes;
        let flags = take_byte(bytes)?;
        let has = |flag| flags & flag != 0;
        let mut addresses = SmallVec::new();
        if has(flag::SEVERAL) {
            for _ in 0..take_number(bytes)? {
                let length = take_number(bytes)?;
                addresses.push(take_address(bytes, length == 16)?);
            }
        } else {
            addresses.push(take_address(bytes, has(flag::V6))?);
        }
        let hostname = if has(flag::HOSTNAME) { Some(take_text(bytes)?) } else { None };
        let rest = if has(flag::POD) { Some(take_text(bytes)?) } else { None };
        let zone = if has(flag::ZONE) { take_byte(bytes)? } else { 0 };
        let mut hints = SmallVec::new();
        if has(flag::OWN_HINT) {
            hints.push(zone);
        } else if has(flag::HINTS) {
            for _ in 0..take_number(bytes)? {
                hints.push(take_byte(bytes)?);
            }
        }
        Some(EndpointRef {
            addresses,
            ready: has(flag::READY),
            hostname: hostname.map(|text| std::str::from_utf8(text).expect("it was a str")),
            pod: rest.map(|rest| PodName { prefix: self.prefix, rest }),
            zone,
            hints,
        })
    }
}

impl PodName<'_> {
    /// The whole name.
    pub fn to_text(self) -> String {
        String::from_utf8_lossy(&[self.prefix, self.rest].concat()).into_owned()
    }
}

impl EndpointRef<'_> {
    /// A copy that owns its fields.
    pub fn to_endpoint(&self) -> Endpoint<'static> {
        Endpoint {
            addresses: self.addresses.clone(),
            ready: self.ready,
            hostname: self.hostname.map(|hostname| hostname.to_owned().into()),
            pod: self.pod.map(|pod| pod.to_text().into()),
            zone: self.zone,
            hints: self.hints.clone(),
        }
    }
}

impl<'a> IntoIterator for &'a EndpointList {
    type Item = EndpointRef<'a>;
    type IntoIter = EndpointIter<'a>;

    fn into_iter(self) -> EndpointIter<'a> {
        self.iter()
    }
}

impl From<Vec<Endpoint<'_>>> for EndpointList {
    fn from(endpoints: Vec<Endpoint<'_>>) -> Self {
        Self::new(&endpoints)
    }
}

impl<const N: usize> From<[Endpoint<'_>; N]> for EndpointList {
    fn from(endpoints: [Endpoint<'_>; N]) -> Self {
        Self::new(&endpoints)
    }
}

impl<'a> FromIterator<Endpoint<'a>> for EndpointList {
    fn from_iter<I: IntoIterator<Item = Endpoint<'a>>>(endpoints: I) -> Self {
        endpoints.into_iter().collect::<Vec<_>>().into()
    }
}

impl std::fmt::Debug for EndpointList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|endpoint| endpoint.to_endpoint())).finish()
    }
}

/// The longest prefix that all names have. It may end within a character.
fn common_prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> &'a [u8] {
    let first = names.next().unwrap_or_default().as_bytes();
    names.fold(first, |prefix, name| {
        let same = prefix.iter().zip(name.as_bytes()).take_while(|(one, other)| one == other);
        &prefix[..same.count()]
    })
}

fn put_endpoint(bytes: &mut Encoded, endpoint: &Endpoint<'_>, prefix: usize) {
    let Endpoint { addresses, ready, hostname, pod, zone, hints } = endpoint;
    let at = bytes.len();
    let mut flags = 0;
    let mut set = |flag: u8, is_set: bool| {
        flags |= if is_set { flag } else { 0 };
        is_set
    };
    set(flag::READY, *ready);
    bytes.push(0);
    match addresses.as_slice() {
        [address] => {
            set(flag::V6, address.is_ipv6());
            put_address(bytes, *address);
        }
        addresses => {
            set(flag::SEVERAL, true);
            put_number(bytes, addresses.len());
            for address in addresses {
                put_number(bytes, if address.is_ipv6() { 16 } else { 4 });
                put_address(bytes, *address);
            }
        }
    }
    if let Some(hostname) = hostname {
        set(flag::HOSTNAME, true);
        put_text(bytes, hostname.as_bytes());
    }
    if let Some(pod) = pod {
        set(flag::POD, true);
        put_text(bytes, &pod.as_bytes()[prefix..]);
    }
    if set(flag::ZONE, *zone != 0) {
        bytes.push(*zone);
    }
    match hints.as_slice() {
        [] => {}
        [hint] if hint == zone => _ = set(flag::OWN_HINT, true),
        hints => {
            set(flag::HINTS, true);
            put_number(bytes, hints.len());
            bytes.extend_from_slice(hints);
        }
    }
    bytes[at] = flags;
}

fn put_address(bytes: &mut Encoded, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}

fn take_address(bytes: &mut &[u8], is_v6: bool) -> Option<IpAddr> {
    if is_v6 {
        let (octets, rest) = bytes.split_first_chunk::<16>()?;
        *bytes = rest;
        return Some(Ipv6Addr::from(*octets).into());
    }
    let (octets, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(Ipv4Addr::from(*octets).into())
}

fn put_text(bytes: &mut Encoded, text: &[u8]) {
    put_number(bytes, text.len());
    bytes.extend_from_slice(text);
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

fn put_number(bytes: &mut Encoded, mut number: usize) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = take_byte(bytes)?;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn endpoint() -> impl Strategy<Value = Endpoint<'static>> {
        let address =
            prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
        let name = prop_oneof!["wéb-[a-z]{0,3}", "wèb-[a-z]{120,150}", Just(String::new())];
        let name = proptest::option::of(name.prop_map(Cow::Owned));
        let addresses = proptest::collection::vec(address, 0..4);
        let hints = proptest::collection::vec(0..3_u8, 0..3);
        (addresses, any::<bool>(), name.clone(), name, 0..3_u8, hints).prop_map(
            |(addresses, ready, hostname, pod, zone, hints)| Endpoint {
                addresses: addresses.into(),
                ready,
                hostname,
                pod,
                zone,
                hints: hints.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn endpoints_are_decoded_as_they_were_encoded(endpoints in proptest::collection::vec(endpoint(), 0..6)) {
            let list = EndpointList::new(&endpoints);
            let decoded: Vec<Endpoint<'_>> = list.iter().map(|endpoint| endpoint.to_endpoint()).collect();
            prop_assert_eq!(&decoded, &endpoints);
            prop_assert_eq!(list.is_empty(), endpoints.is_empty());
            prop_assert_eq!(list, EndpointList::new(&decoded));
        }
    }

    #[test]
    fn an_endpoint_of_a_deployment_takes_twelve_bytes() {
        let endpoint = |last: u8| Endpoint {
            addresses: [IpAddr::from([10, 128, 0, last])].into_iter().collect(),
            ready: true,
            hostname: None,
            pod: Some(format!("web-7d4b9c6f5-{}x2c{}", (b'a' + last) as char, last).into()),
            zone: 1,
            hints: [1].into_iter().collect(),
        };
        let list: EndpointList = (0..10).map(endpoint).collect();
        let shared = "web-7d4b9c6f5-".len() + 1;
        assert_eq!((list.0.len() - shared).div_ceil(10), 12);
    }
}
