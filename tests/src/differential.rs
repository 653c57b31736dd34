//! Sends the same generated queries to two DNS servers and compares their replies.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

/// How long both servers may take for a window of queries. A query that is dropped costs as much.
const TIMEOUT: Duration = Duration::from_millis(700);

/// Queries on the way at a time: few enough for the receive buffers.
const WINDOW: usize = 32;

/// Types that are asked for, the common ones more often.
const TYPES: [u16; 24] =
    [1, 1, 1, 1, 28, 28, 28, 33, 33, 5, 5, 16, 15, 2, 6, 12, 12, 65, 64, 255, 13, 43, 99, 10];

/// A generated query.
#[derive(Clone, Debug)]
pub struct GeneratedQuery {
    /// The queried name, in presentation format.
    pub name: String,
    /// The type.
    pub qtype: u16,
    recursion_desired: bool,
    checking_disabled: bool,
    /// UDP size, DO, and whether NSID is asked for.
    edns: Option<(u16, bool, bool)>,
}

/// Queries made from a list of names, the same ones for the same seed.
pub struct QueryGenerator<'n> {
    names: &'n [&'n str],
    state: u64,
}

impl<'n> QueryGenerator<'n> {
    /// Makes queries for these names, and for names near them.
    pub fn new(names: &'n [&'n str], seed: u64) -> Self {
        Self { names, state: seed | 1 }
    }

    /// A number below `end` (xorshift).
    fn number(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.number(count) == 0
    }

    /// The next query.
    pub fn query(&mut self) -> GeneratedQuery {
        let mut name = self.names[self.number(self.names.len())].to_owned();
        if self.one_in(6) {
            let labels = ["x", "*", "_http", "_tcp", "www", "a-b", "10-0-0-1", "z9", "any"];
            let label = labels[self.number(labels.len())];
            name = if name == "." { format!("{label}.") } else { format!("{label}.{name}") };
        }
        if self.one_in(8)
            && let Some((_, rest)) = name.split_once('.')
        {
            name = if rest.is_empty() { ".".to_owned() } else { rest.to_owned() };
        }
        if self.one_in(6) {
            name = name.chars().map(|ch| if self.one_in(2) { ch.to_ascii_uppercase() } else { ch }).collect();
        }
        let sizes = [512, 1232, 4096, 400, 65_535];
        let edns =
            (!self.one_in(3)).then(|| (sizes[self.number(sizes.len())], self.one_in(4), self.one_in(12)));
        GeneratedQuery {
            name,
            qtype: TYPES[self.number(TYPES.len())],
            recursion_desired: !self.one_in(6),
            checking_disabled: self.one_in(12),
            edns,
        }
    }
}

impl GeneratedQuery {
    /// Whether it has an OPT record.
    pub fn has_edns(&self) -> bool {
        self.edns.is_some()
    }

    /// The query as a message.
    fn encoded(&self, id: u16) -> Vec<u8> {
        let flags = u16::from(self.recursion_desired) << 8 | u16::from(self.checking_disabled) << 4;
        let additional = u16::from(self.edns.is_some());
        let mut message: Vec<u8> =
            [id, flags, 1, 0, 0, additional].iter().flat_map(|word| word.to_be_bytes()).collect();
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend([self.qtype, 1].iter().flat_map(|word| word.to_be_bytes()));
        if let Some((size, dnssec_ok, nsid)) = self.edns {
            let options: &[u8] = if nsid { &[0, 3, 0, 0] } else { &[] };
            let words = [41, size, 0, u16::from(dnssec_ok) << 15, options.len() as u16];
            message.push(0);
            message.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            message.extend_from_slice(options);
        }
        message
    }
}

impl std::fmt::Display for GeneratedQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, qtype, recursion_desired, checking_disabled, edns } = self;
        let kind = RecordType::from(*qtype);
        write!(f, "{name} {kind} rd={recursion_desired} cd={checking_disabled} edns={edns:?}")
    }
}

/// A difference between the replies of both servers.
pub struct ReplyDifference {
    /// The query.
    pub query: GeneratedQuery,
    /// What each of them replied, as text.
    pub replies: [String; 2],
}

impl ReplyDifference {
    /// Whether the replies are the same without the lines that begin with one of these words.
    pub fn is_only_in(&self, words: &[&str]) -> bool {
        let without = |reply: &str| -> Vec<String> {
            let kept = reply.lines().filter(|line| !words.iter().any(|word| line.starts_with(word)));
            kept.map(str::to_owned).collect()
        };
        without(&self.replies[0]) == without(&self.replies[1])
    }

    /// Whether the replies are the same but for TTLs that differ by at most this many seconds.
    pub fn is_only_in_ttls(&self, seconds: u32) -> bool {
        let lines = |reply: usize| self.replies[reply].lines().collect::<Vec<_>>();
        let (first, second) = (lines(0), lines(1));
        let alike = |one: &str, two: &str| {
            let (one, two): (Vec<&str>, Vec<&str>) = (one.split(' ').collect(), two.split(' ').collect());
            let ttl = |words: &[&str]| words.get(2).and_then(|word| word.parse::<u32>().ok());
            let near = ttl(&one).zip(ttl(&two)).is_some_and(|(one, two)| one.abs_diff(two) <= seconds);
            one == two || (near && one.len() == two.len() && one[..2] == two[..2] && one[3..] == two[3..])
        };
        first.len() == second.len() && first.iter().zip(&second).all(|(one, two)| alike(one, two))
    }
}

/// How a reply is made comparable: gets each line of its text, and leaves out a line that may differ.
pub type LineFilter = fn(String) -> Option<String>;

/// Asks both servers `count` queries. Returns how many got a reply of both, and the differences.
pub fn compare(
    servers: [SocketAddr; 2],
    generator: &mut QueryGenerator<'_>,
    count: usize,
    filter: LineFilter,
) -> io::Result<(usize, Vec<ReplyDifference>)> {
    let sockets = [connected(servers[0])?, connected(servers[1])?];
    let (mut answered, mut differences) = (0, Vec::new());
    for start in (0..count).step_by(WINDOW) {
        let queries: Vec<GeneratedQuery> =
            (start..count.min(start + WINDOW)).map(|_| generator.query()).collect();
        let mut replies = [HashMap::new(), HashMap::new()];
        for (at, query) in queries.iter().enumerate() {
            let id = (start + at) as u16;
            for socket in &sockets {
                socket.send(&query.encoded(id))?;
            }
        }
        for (socket, replies) in sockets.iter().zip(&mut replies) {
            *replies = receive(socket, start, queries.len());
        }
        for (at, query) in queries.into_iter().enumerate() {
            let id = (start + at) as u16;
            let text = |server: usize| match replies[server].get(&id) {
                Some(reply) => shown(reply, filter),
                None => "no reply".to_owned(),
            };
            let replies = [text(0), text(1)];
            answered += usize::from(replies.iter().all(|reply| reply != "no reply"));
            if replies[0] != replies[1] {
                differences.push(ReplyDifference { query, replies });
            }
        }
    }
    Ok((answered, differences))
}

fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// The replies to the queries with these identifiers, until all are there or none comes any more.
fn receive(socket: &UdpSocket, start: usize, count: usize) -> HashMap<u16, Vec<u8>> {
    let (mut replies, mut buffer) = (HashMap::new(), vec![0; 65_535]);
    while replies.len() < count {
        let Ok(length) = socket.recv(&mut buffer) else { break };
        let id = buffer.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        if usize::from(id.wrapping_sub(start as u16)) < count {
            replies.insert(id, buffer[..length].to_vec());
        }
    }
    replies
}

/// The text of a reply, with the records of each section in order, in lower case.
fn shown(reply: &[u8], filter: LineFilter) -> String {
    let message = match Message::from_vec(reply) {
        Ok(message) => message,
        Err(error) => return format!("unreadable: {error}: {reply:?}"),
    };
    let flags = &message.metadata;
    let mut lines = vec![format!(
        "{:?} aa={} tc={} rd={} ra={} ad={} cd={}",
        flags.response_code,
        flags.authoritative,
        flags.truncation,
        flags.recursion_desired,
        flags.recursion_available,
        flags.authentic_data,
        flags.checking_disabled
    )];
    if let Some(edns) = &message.edns {
        let options: BTreeMap<String, String> = edns
            .options()
            .as_ref()
            .iter()
            .map(|(code, option)| (format!("{code:?}"), format!("{option:?}")))
            .collect();
        lines.push(format!("edns do={} {options:?}", edns.flags().dnssec_ok));
    }
    let sections: [(&str, &[Record]); 3] = [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ];
    for (section, records) in sections {
        let mut records: Vec<String> = records
            .iter()
            .map(|record| {
                let (name, kind) = (&record.name, record.record_type());
                // In lower case before they are put in order.
                format!("{section} {name} {} {} {kind} {}", record.ttl, record.dns_class, record.data)
                    .to_lowercase()
            })
            .collect();
        records.sort();
        lines.extend(records);
    }
    let mut text = String::new();
    for line in lines.into_iter().filter_map(|line| filter(line.to_lowercase())) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_makes_the_same_readable_queries_for_the_same_seed() {
        let names = ["www.example.org.", "."];
        let (mut one, mut two) = (QueryGenerator::new(&names, 7), QueryGenerator::new(&names, 7));
        for id in 0..1_000 {
            let (query, same) = (one.query(), two.query());
            assert_eq!(query.encoded(id), same.encoded(id));
            let message =
                Message::from_vec(&query.encoded(id)).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(message.edns.is_some(), query.edns.is_some(), "{query}");
            assert!(message.queries[0].name.to_string().eq_ignore_ascii_case(&query.name), "{query}");
        }
    }
}
