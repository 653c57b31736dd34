//! Requests that wait for a connection to an endpoint. All operations take logarithmic time.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// How many requests of a worker may wait for a connection to an endpoint.
const MAX_WAITING: usize = 16_384;
/// How many of them may wait for one endpoint, so that it leaves places for the others.
const MAX_WAITING_PER_ENDPOINT: usize = MAX_WAITING - MAX_WAITING / 4;

/// Waiting requests by endpoint, in the order in which they came. `T` is what a request is answered through.
#[derive(Debug)]
pub(super) struct WaitingList<T> {
    by_endpoint: HashMap<SocketAddr, BTreeMap<Ticket, T>, foldhash::fast::RandomState>,
    /// The endpoints that may have another connection, by the ticket of the first request that waits for each.
    eligible: BTreeMap<Ticket, SocketAddr>,
    length: usize,
    next: Ticket,
}

/// The place of a request in the order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl<T> Default for WaitingList<T> {
    fn default() -> Self {
        Self {
            by_endpoint: HashMap::default(),
            eligible: BTreeMap::default(),
            length: 0,
            next: Ticket::default(),
        }
    }
}

impl<T> WaitingList<T> {
    /// Whether no request waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether a request waits that could have a connection if one to this endpoint were closed.
    pub(super) fn is_wanted(&self, address: SocketAddr) -> bool {
        !self.eligible.is_empty() || self.by_endpoint.contains_key(&address)
    }

    /// Adds a request behind all others. `is_full`: the endpoint has all connections that one may have. `None` if too many requests
    /// wait already.
    pub(super) fn push(&mut self, address: SocketAddr, is_full: bool, request: T) -> Option<Ticket> {
        let of_endpoint = self.by_endpoint.get(&address).map_or(0, BTreeMap::len);
        if self.length >= MAX_WAITING || of_endpoint >= MAX_WAITING_PER_ENDPOINT {
            return None;
        }
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        self.length += 1;
        self.by_endpoint.entry(address).or_default().insert(ticket, request);
        if of_endpoint == 0 && !is_full {
            self.eligible.insert(ticket, address);
        }
        Some(ticket)
    }

    /// Removes a request, unless it has been taken.
    pub(super) fn remove(&mut self, address: SocketAddr, ticket: Ticket) -> Option<T> {
        let requests = self.by_endpoint.get_mut(&address)?;
        let request = requests.remove(&ticket)?;
        self.length -= 1;
        let next = requests.first_key_value().map(|(next, _)| *next);
        if next.is_none() {
            self.by_endpoint.remove(&address);
        }
        // It was the first one of its endpoint, which has another first one now.
        if self.eligible.remove(&ticket).is_some()
            && let Some(next) = next
        {
            self.eligible.insert(next, address);
        }
        Some(request)
    }

    /// Takes the request that has waited longest of those whose endpoint may have another connection.
    pub(super) fn take_first(&mut self) -> Option<(SocketAddr, T)> {
        let (ticket, address) =
            self.eligible.first_key_value().map(|(ticket, address)| (*ticket, *address))?;
        Some((address, self.remove(address, ticket)?))
    }

    /// Records whether an endpoint has all connections that one may have.
    pub(super) fn set_full(&mut self, address: SocketAddr, is_full: bool) {
        let Some(first) = self.by_endpoint.get(&address).and_then(|requests| requests.first_key_value())
        else {
            return;
        };
        match is_full {
            true => self.eligible.remove(first.0),
            false => self.eligible.insert(*first.0, address),
        };
    }

    /// Records for every endpoint whether it has all connections that one may have.
    pub(super) fn set_all_full(&mut self, is_full: impl Fn(SocketAddr) -> bool) {
        let first = |(address, requests): (&SocketAddr, &BTreeMap<Ticket, T>)| {
            Some((*requests.first_key_value()?.0, *address))
        };
        self.eligible =
            self.by_endpoint.iter().filter_map(first).filter(|(_, address)| !is_full(*address)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    fn taken(list: &mut WaitingList<u32>) -> Option<u32> {
        list.take_first().map(|(_, request)| request)
    }

    #[test]
    fn requests_are_taken_in_order_of_arrival_past_those_of_full_endpoints() {
        let mut list = WaitingList::default();
        let full = list.push(address(1), true, 1).unwrap();
        list.push(address(2), false, 2).unwrap();
        list.push(address(1), true, 3).unwrap();
        list.push(address(2), false, 4).unwrap();
        assert_eq!(taken(&mut list), Some(2));
        list.set_full(address(1), false);
        assert_eq!(list.remove(address(1), full), Some(1));
        assert_eq!(list.remove(address(1), full), None, "it is gone");
        assert_eq!(taken(&mut list), Some(3), "it came before the other");
        list.set_full(address(2), true);
        assert_eq!(taken(&mut list), None);
        assert!(list.is_wanted(address(2)) && !list.is_wanted(address(1)));
        list.set_all_full(|_| false);
        assert!(list.is_wanted(address(1)));
        assert_eq!(taken(&mut list), Some(4));
        assert!(list.is_empty() && list.by_endpoint.is_empty() && list.eligible.is_empty());
    }

    /// The same by scanning a list, as a second opinion.
    #[test]
    fn any_sequence_of_operations_takes_what_a_scan_finds() {
        let mut random = 1_u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let mut list = WaitingList::default();
        let mut scanned: Vec<(Ticket, SocketAddr, u32)> = Vec::new();
        let mut full = [false; 4];
        for step in 0..20_000 {
            let of = next(4);
            let place = address(u8::try_from(of).unwrap());
            match next(5) {
                0 | 1 => scanned.push((list.push(place, full[of as usize], step).unwrap(), place, step)),
                2 if !scanned.is_empty() => {
                    let at = next(u32::try_from(scanned.len()).unwrap()) as usize;
                    let (ticket, place, request) = scanned.remove(at);
                    assert_eq!(list.remove(place, ticket), Some(request));
                }
                3 => {
                    full[of as usize] ^= true;
                    list.set_full(place, full[of as usize]);
                }
                _ => {
                    let is_free = |address: SocketAddr| {
                        (0..4).any(|at| address == self::address(at) && !full[usize::from(at)])
                    };
                    let found = scanned.iter().position(|(_, address, _)| is_free(*address));
                    assert_eq!(taken(&mut list), found.map(|at| scanned.remove(at).2), "step {step}");
                }
            }
            assert_eq!(list.length, scanned.len());
        }
    }

    #[test]
    fn the_number_of_waiting_requests_is_bounded_and_one_endpoint_leaves_places() {
        let mut list = WaitingList::default();
        let of_one = (0..).take_while(|_| list.push(address(1), true, ()).is_some()).count();
        assert_eq!(of_one, MAX_WAITING_PER_ENDPOINT);
        let of_others = (0..).take_while(|at: &u32| {
            let other = SocketAddr::from(([10, 0, 0, 1], u16::try_from(at % 1000).unwrap()));
            list.push(other, true, ()).is_some()
        });
        assert_eq!(of_others.count(), MAX_WAITING - MAX_WAITING_PER_ENDPOINT);
    }
}
