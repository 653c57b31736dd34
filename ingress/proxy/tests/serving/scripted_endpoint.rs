//! Endpoints that run a script, an address without one, and a name server.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

use crate::message::{Response, TEST_TIMEOUT, read_body, read_head};

/// An endpoint that runs a script for each connection, in a thread of its own.
pub struct ScriptedEndpoint {
    pub address: SocketAddr,
    requests: mpsc::Receiver<Response>,
    connections: Arc<Mutex<usize>>,
}

/// A connection at the endpoint.
pub struct EndpointConnection {
    pub stream: BufReader<TcpStream>,
    reports: mpsc::Sender<Response>,
}

impl EndpointConnection {
    /// Reads the next request with its body, and reports it to the test.
    pub fn request(&mut self) -> Option<Response> {
        let head = self.head()?;
        let body = read_body(&mut self.stream, &head).unwrap_or_default();
        let request = Response { body, ..head };
        let _ = self.reports.send(request.clone());
        Some(request)
    }

    /// Reads only the head of the next request.
    pub fn head(&mut self) -> Option<Response> {
        let head = read_head(&mut self.stream)?;
        Some(Response { status: 0, head, body: String::new() })
    }

    /// Reports a message to the test.
    pub fn report(&self, request: Response) {
        let _ = self.reports.send(request);
    }

    /// Sends a text written with LF.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.replace('\n', "\r\n").as_bytes())
    }
}

impl ScriptedEndpoint {
    pub fn new(script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1".parse().unwrap(), script)
    }

    pub fn on(ip: IpAddr, script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static) -> Self {
        Self::over(TcpListener::bind((ip, 0)).unwrap(), script)
    }

    pub fn over(
        listener: TcpListener,
        script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (reports, requests) = mpsc::channel();
        let (script, connections) = (Arc::new(script), Arc::new(Mutex::new(0)));
        let count = connections.clone();
        // Ends with the process: a test has a handful of endpoints.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *count.lock().unwrap() += 1;
                let (script, reports) = (script.clone(), reports.clone());
                std::thread::spawn(move || {
                    script(&mut EndpointConnection { stream: BufReader::new(stream), reports })
                });
            }
        });
        Self { address, requests, connections }
    }

    /// Answers every request with this text, on connections that stay open.
    pub fn always(text: &'static str) -> Self {
        Self::new(move |connection| while connection.request().is_some() && connection.send(text).is_ok() {})
    }

    /// Two of these, on two addresses with one port.
    pub fn pair(text: &'static str) -> [Self; 2] {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let Ok(other) = TcpListener::bind(("127.0.0.2", one.local_addr().unwrap().port())) else {
            return Self::pair(text);
        };
        let always = move |connection: &mut EndpointConnection| {
            while connection.request().is_some() && connection.send(text).is_ok() {}
        };
        [one, other].map(|listener| Self::over(listener, always))
    }

    /// A script that blocks in its second argument until the test sends a message.
    pub fn held(
        script: impl Fn(&mut EndpointConnection, &dyn Fn()) + Send + Sync + 'static,
    ) -> (Self, mpsc::Sender<()>) {
        let (go, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        // Receiving fails if the test has ended early.
        let hold = move || {
            let _ = wait.lock().unwrap().recv();
        };
        (Self::new(move |connection| script(connection, &hold)), go)
    }

    /// Answers a request in two chunks, `first` and `last`; the second after a message of the test.
    pub fn in_two_chunks() -> (Self, mpsc::Sender<()>) {
        Self::held(|connection, hold| {
            connection.request();
            let _ = connection.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nfirst\n");
            hold();
            let _ = connection.send("4\nlast\n0\n\n");
        })
    }

    /// Waits for the next request.
    pub fn seen(&self) -> Response {
        self.requests.recv_timeout(TEST_TIMEOUT).expect("the endpoint gets a request")
    }

    /// Every request that has arrived and was not returned yet.
    pub fn all_seen(&self) -> Vec<Response> {
        self.requests.try_iter().collect()
    }

    /// Whether no (further) request has arrived.
    pub fn has_no_request(&self) -> bool {
        self.requests.try_recv().is_err()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// An address that refuses connections. Its port stays bound until the test process ends, so that no listener of a test gets it.
pub fn unused_address() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A name server that answers every name with these IPv4 addresses.
pub fn name_server(addresses: &[IpAddr]) -> SocketAddr {
    let addresses = addresses.to_vec();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            // The question ends after its name, type and class.
            let name = packet[12..length].iter().position(|byte| *byte == 0).unwrap();
            let question = 12 + name + 5;
            let is_a = packet[12 + name + 2] == 1;
            let mut reply = packet[..question].to_vec();
            reply[2..4].copy_from_slice(&[0x81, 0x80]);
            reply[6..12].copy_from_slice(&[0, 0, 0, 0, 0, 0]);
            for address in addresses.iter().filter(|_| is_a) {
                let IpAddr::V4(address) = address else { panic!("an IPv4 address") };
                reply[7] += 1;
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address.octets());
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    server
}
