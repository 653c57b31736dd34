//! Load generator for HTTP: each connection sends its next request as soon as it has received a response.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::epoll::Epoll;
use crate::http::message::{BackendPage, ITEM, ResponseState, parse_response};
use crate::http::stream::{LoadStream, LoadTls};
use crate::samples::LoadResult;

/// A request without a response after this time counts as lost. Much longer than any response takes on loopback.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A load generator for one server. Its connections stay open between rounds.
pub(crate) struct Load<'a> {
    server: SocketAddr,
    tls: Option<&'a LoadTls>,
    epoll: Epoll,
    connections: Vec<Connection>,
    request: Vec<u8>,
    /// The body of a correct response.
    body: Vec<u8>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: LoadStream,
    received: Vec<u8>,
    awaiting_response: bool,
}

impl<'a> Load<'a> {
    /// Opens the connections, which all request one page.
    pub(crate) fn new(
        server: SocketAddr,
        connections: usize,
        tls: Option<&'a LoadTls>,
        page: BackendPage,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("connections to {server}: {error}");
        let epoll = Epoll::new().map_err(failed)?;
        let connect = |number| Connection::open(server, tls, &epoll, number);
        let connections = (0..connections).map(connect).collect::<io::Result<_>>().map_err(failed)?;
        let (request, body, buffer) = (page.request(), page.body(), vec![0; 64 << 10]);
        Ok(Self { server, tls, epoll, connections, request, body, buffer })
    }

    /// Sends requests as fast as responses arrive, for `length`.
    pub(crate) fn saturate(&mut self, length: Duration) -> LoadResult {
        let mut result = LoadResult::default();
        let start = Instant::now();
        let mut last_event = start;
        for number in 0..self.connections.len() {
            self.send_request(number, &mut result);
        }
        loop {
            self.epoll.wait(100);
            let now = Instant::now();
            let is_over = now - start > length;
            let mut index = 0;
            while let Some(number) = self.epoll.ready(index) {
                index += 1;
                last_event = now;
                if self.connections[number].awaiting_response {
                    self.receive(number, is_over, &mut result);
                } else {
                    self.reopen(number); // the server has closed an idle connection
                }
            }
            let waiting = self.connections.iter().filter(|connection| connection.awaiting_response).count();
            if is_over && waiting == 0 || now - last_event > TIMEOUT {
                result.lost += waiting as u64;
                break;
            }
        }
        result.took = start.elapsed();
        result
    }

    /// Opens one connection after the other, each for one request, for `length`.
    pub(crate) fn one_request_per_connection(&self, length: Duration) -> LoadResult {
        let mut result = LoadResult::default();
        let start = Instant::now();
        while start.elapsed() < length {
            match exchange(self.server, self.tls) {
                Ok(true) => result.answers += 1,
                Ok(false) => result.wrong += 1,
                Err(_) => result.lost += 1,
            }
        }
        result.took = start.elapsed();
        result
    }

    fn send_request(&mut self, number: usize, result: &mut LoadResult) {
        let connection = &mut self.connections[number];
        connection.received.clear();
        connection.awaiting_response = connection.stream.write_all(&self.request).is_ok();
        if !connection.awaiting_response {
            result.lost += 1;
            self.reopen(number);
        }
    }

    fn receive(&mut self, number: usize, is_over: bool, result: &mut LoadResult) {
        let connection = &mut self.connections[number];
        let count = match connection.stream.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        connection.received.extend_from_slice(&self.buffer[..count]);
        match parse_response(&connection.received, &self.body) {
            ResponseState::Complete { correct, closes } => {
                connection.awaiting_response = false;
                if correct {
                    result.answers += 1
                } else {
                    result.wrong += 1
                }
                if closes || count == 0 {
                    self.reopen(number);
                }
                if !is_over {
                    self.send_request(number, result);
                }
            }
            ResponseState::Partial if count == 0 => {
                result.lost += 1;
                self.reopen(number);
            }
            ResponseState::Partial => {}
        }
    }

    fn reopen(&mut self, number: usize) {
        if let Ok(connection) = Connection::open(self.server, self.tls, &self.epoll, number) {
            self.connections[number] = connection;
        } else {
            self.connections[number].awaiting_response = false;
        }
    }
}

/// Sends one request over a new connection. Returns whether the response is correct.
pub(crate) fn exchange(server: SocketAddr, tls: Option<&LoadTls>) -> io::Result<bool> {
    request_once(server, tls).map(|(correct, _)| correct)
}

/// Sends one request over a new connection and returns the connection, which stays open. Fails without a correct response.
pub(crate) fn request_and_keep(server: SocketAddr, tls: Option<&LoadTls>) -> io::Result<LoadStream> {
    match request_once(server, tls)? {
        (true, stream) => Ok(stream),
        (false, _) => Err(io::Error::other("incorrect response")),
    }
}

fn request_once(server: SocketAddr, tls: Option<&LoadTls>) -> io::Result<(bool, LoadStream)> {
    let mut stream = LoadStream::open(server, tls)?;
    stream.socket().set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&BackendPage::Item.request())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        received.extend_from_slice(&buffer[..count]);
        match parse_response(&received, ITEM.as_bytes()) {
            ResponseState::Complete { correct, .. } => return Ok((correct, stream)),
            ResponseState::Partial if count == 0 => return Ok((false, stream)),
            ResponseState::Partial => {}
        }
    }
}

impl Connection {
    fn open(server: SocketAddr, tls: Option<&LoadTls>, epoll: &Epoll, number: usize) -> io::Result<Self> {
        let stream = LoadStream::open(server, tls)?;
        stream.socket().set_nonblocking(true)?;
        epoll.add(&stream, number)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), awaiting_response: false })
    }
}
