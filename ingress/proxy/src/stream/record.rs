//! The values of a stream or UDP session that are logged and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ingress_routes::access_log::ProxyHeaderVariable;
use ingress_routes::template::CompiledPart;
use ingress_routes::{LogEscape, ProxiedConnection, StreamLineFormat, StreamService, StreamVariable};
use smallvec::SmallVec;

use crate::io::clock::Clock;
use crate::io::relay::Transferred;
use crate::observe::format;
use crate::state::worker::Worker;

/// A stream from its beginning to its end.
pub(super) struct StreamRecord {
    pub(super) service: Arc<StreamService>,
    number: u64,
    pub(super) peer: SocketAddr,
    /// The peer, or the source of its PROXY header.
    pub(super) client: SocketAddr,
    /// The address that the peer has connected or sent to.
    pub(super) local: SocketAddr,
    pub(super) proxied: Option<ProxiedConnection>,
    pub(super) started: Instant,
    /// 200, or what nginx has for the failure.
    pub(super) status: u16,
    /// Bytes of the client, and those that it has got.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) attempts: SmallVec<[StreamAttempt; 1]>,
}

/// An endpoint that was tried.
pub(super) struct StreamAttempt {
    address: SocketAddr,
    started: Instant,
    connected: Option<Duration>,
    first_byte: Option<Duration>,
    ended: Option<Duration>,
    sent: u64,
    received: u64,
}

impl StreamAttempt {
    pub(super) fn new(address: SocketAddr) -> Self {
        let started = Instant::now();
        Self { address, started, connected: None, first_byte: None, ended: None, sent: 0, received: 0 }
    }
}

impl StreamRecord {
    pub(super) fn new(
        worker: &Worker,
        service: Arc<StreamService>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Self {
        Self {
            service,
            number: worker.next_connection(),
            peer,
            client: peer,
            local,
            proxied: None,
            started: worker.clock.instant(),
            status: 200,
            received: 0,
            sent: 0,
            attempts: SmallVec::new(),
        }
    }

    /// Sets what the PROXY header says.
    pub(super) fn identify(&mut self, worker: &Worker, proxied: Option<ProxiedConnection>) {
        self.proxied = proxied;
        let source = proxied.map(|proxied| proxied.source);
        self.client = worker.settings().identity.connection_client(self.peer, source);
    }

    /// The last endpoint has accepted the connection; it was sent a header of this length.
    pub(super) fn connected(&mut self, header: usize) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.connected = Some(attempt.started.elapsed());
            attempt.sent = header as u64;
        }
    }

    /// The last endpoint did not accept the connection.
    pub(super) fn attempt_failed(&mut self) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended = Some(attempt.started.elapsed());
        }
    }

    /// The session with the last endpoint has ended, after this many bytes to it and from it.
    pub(super) fn attempt_ended(&mut self, sent: u64, received: u64) {
        self.attempt_failed();
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.sent += sent;
            attempt.received = received;
        }
    }

    /// The stream has ended after this.
    pub(super) fn copied(&mut self, copied: Transferred) {
        (self.received, self.sent) = (copied.from_client, copied.to_client);
        self.attempt_ended(copied.from_client, copied.to_client);
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.first_byte =
                copied.first_byte.map(|first| first.saturating_duration_since(attempt.started));
        }
    }

    /// Counts and logs the stream, which has ended.
    pub(super) fn finish(self, worker: &Worker) {
        worker.streams.metrics.count(&self.service, self.status, self.received, self.sent);
        let settings = worker.settings();
        let Some(lines) = worker.stream_lines.as_ref().filter(|_| settings.access_log.has_streams) else {
            return;
        };
        let elapsed = Instant::now().saturating_duration_since(self.started);
        lines.write_line(|out| match &settings.access_log.stream_format {
            Some(format) => self.write(format, &worker.clock, elapsed, out),
            None => DEFAULT.with(|format| self.write(format, &worker.clock, elapsed, out)),
        });
    }

    fn write(&self, format: &StreamLineFormat, clock: &Clock, elapsed: Duration, out: &mut Vec<u8>) {
        for part in format.parts() {
            match part {
                CompiledPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                CompiledPart::Variable(variable) => {
                    self.value(*variable, format.escape(), clock, elapsed, out)
                }
            }
        }
    }

    fn value(
        &self,
        variable: StreamVariable,
        escape: LogEscape,
        clock: &Clock,
        elapsed: Duration,
        out: &mut Vec<u8>,
    ) {
        match variable {
            StreamVariable::RemoteAddress => ip(out, self.client),
            StreamVariable::BinaryRemoteAddress => match self.client.ip().to_canonical() {
                IpAddr::V4(ip) => format::value(out, escape, Some(&ip.octets())),
                IpAddr::V6(ip) => format::value(out, escape, Some(&ip.octets())),
            },
            StreamVariable::RemotePort => format::number(out, self.client.port().into()),
            StreamVariable::PeerAddress => ip(out, self.peer),
            StreamVariable::PeerPort => format::number(out, self.peer.port().into()),
            StreamVariable::ServerAddress => ip(out, self.local),
            StreamVariable::ServerPort => format::number(out, self.local.port().into()),
            StreamVariable::ProxyHeader(variable) => match self.proxied {
                None => format::value(out, escape, None),
                Some(proxied) => match variable {
                    ProxyHeaderVariable::SourceAddress => ip(out, proxied.source),
                    ProxyHeaderVariable::SourcePort => format::number(out, proxied.source.port().into()),
                    ProxyHeaderVariable::DestinationAddress => ip(out, proxied.destination),
                    ProxyHeaderVariable::DestinationPort => {
                        format::number(out, proxied.destination.port().into())
                    }
                },
            },
            StreamVariable::Protocol => {
                out.extend(self.service.protocol.label().to_ascii_uppercase().bytes())
            }
            StreamVariable::Status => format::number(out, self.status.into()),
            StreamVariable::BytesSent => format::number(out, self.sent),
            StreamVariable::BytesReceived => format::number(out, self.received),
            StreamVariable::SessionTime => format::seconds(out, elapsed),
            StreamVariable::LocalTime => clock.write_local_time(out),
            StreamVariable::IsoTime => clock.write_iso_time(out),
            StreamVariable::UnixTime => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                format::seconds(out, now.unwrap_or_default());
            }
            StreamVariable::Connection => format::number(out, self.number),
            StreamVariable::ProcessId => format::number(out, std::process::id().into()),
            StreamVariable::UpstreamName => out.extend(self.service.upstream_name().bytes()),
            StreamVariable::UpstreamAddress => {
                self.each(escape, out, |out, one| out.extend(one.address.to_string().bytes()))
            }
            StreamVariable::UpstreamBytesSent => {
                self.each(escape, out, |out, one| format::number(out, one.sent))
            }
            StreamVariable::UpstreamBytesReceived => {
                self.each(escape, out, |out, one| format::number(out, one.received))
            }
            StreamVariable::UpstreamConnectTime => {
                self.each(escape, out, |out, one| time(out, one.connected))
            }
            StreamVariable::UpstreamFirstByteTime => {
                self.each(escape, out, |out, one| time(out, one.first_byte))
            }
            StreamVariable::UpstreamSessionTime => self.each(escape, out, |out, one| time(out, one.ended)),
            StreamVariable::Absent => format::value(out, escape, None),
        }
    }

    /// A value for each endpoint that was tried.
    fn each(&self, escape: LogEscape, out: &mut Vec<u8>, value: impl Fn(&mut Vec<u8>, &StreamAttempt)) {
        if self.attempts.is_empty() {
            return format::value(out, escape, None);
        }
        for (at, attempt) in self.attempts.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(b", ");
            }
            value(out, attempt);
        }
    }
}

thread_local! {
    static DEFAULT: StreamLineFormat = StreamLineFormat::default();
}

fn ip(out: &mut Vec<u8>, address: SocketAddr) {
    out.extend(address.ip().to_canonical().to_string().bytes());
}

fn time(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => format::seconds(out, time),
        None => out.push(b'-'),
    }
}
