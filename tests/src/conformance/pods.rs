//! The Pods of a case: servers on Pod addresses, in place of Pods, which no kubelet runs. Their behaviour is the case's `kind`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use regex::Regex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// How a Pod answers.
#[derive(Clone)]
pub(super) enum PodBehavior {
    /// 200 and a description of the request as JSON.
    Echo,
    /// `/status/N`, `/bytes/N`, `/xml`, `/html`, `/basic-auth/U/P`, `/response-headers?K=V`; else like `Echo`.
    Httpbin,
    /// Always the same response.
    Fixed(FixedResponse),
    /// The first rule whose pattern matches the path.
    Routes(Vec<(Regex, FixedResponse)>),
    /// `/sleep/N` answers after N seconds, with a description of the request.
    Slow,
    /// Bytes are sent back as they arrive.
    TcpEcho,
    /// WebSocket messages are sent back.
    WebSocketEcho,
    /// Messages of gRPC are sent back.
    GrpcEcho,
    /// Requests of FastCGI are answered with a text, or with their description.
    FastCgi(Option<&'static str>),
    /// Accepts no connection and refuses none.
    BlackHole,
}

impl PodBehavior {
    /// The behaviour that a backend of a case describes.
    pub(super) fn of(backend: &Value) -> Result<Self, String> {
        let fixed = |value: &Value| FixedResponse {
            status: match &value["status_per_pod"] {
                Value::Array(codes) => {
                    codes.iter().filter_map(|code| u16::try_from(code.as_u64()?).ok()).collect()
                }
                _ => value["status"].as_u64().and_then(|code| u16::try_from(code).ok()).into_iter().collect(),
            },
            headers: pairs(&value["headers"]),
            body: value["body"].as_str().unwrap_or_default().to_owned(),
        };
        Ok(match backend["kind"].as_str().unwrap_or_default() {
            "echo" if backend["status_per_pod"].is_null() => PodBehavior::Echo,
            "https-echo" => PodBehavior::Echo,
            "httpbin" => PodBehavior::Httpbin,
            "echo" | "fixed" => PodBehavior::Fixed(fixed(backend)),
            "slow" => PodBehavior::Slow,
            "tcp-echo" => PodBehavior::TcpEcho,
            "ws-echo" => PodBehavior::WebSocketEcho,
            "grpc-echo" => PodBehavior::GrpcEcho,
            "fastcgi-hello" => PodBehavior::FastCgi(Some("Hello world!")),
            "fastcgi-echo" => PodBehavior::FastCgi(None),
            "blackhole" => PodBehavior::BlackHole,
            "routes" => {
                let rules = backend["routes"].as_array().into_iter().flatten().map(|rule| {
                    let pattern = match (rule["path_regex"].as_str(), rule["path_prefix"].as_str()) {
                        (Some(pattern), _) => pattern.to_owned(),
                        (_, Some(prefix)) => format!("^{}", regex::escape(prefix)),
                        _ => return Err(format!("route {rule}")),
                    };
                    Ok((Regex::new(&pattern).map_err(|error| error.to_string())?, fixed(rule)))
                });
                PodBehavior::Routes(rules.collect::<Result<_, String>>()?)
            }
            kind => return Err(format!("the harness has no backend {kind:?}")),
        })
    }
}

/// A response that does not depend on the request. `$name` in header values is a group of the rule's pattern.
#[derive(Clone, Default)]
pub(super) struct FixedResponse {
    /// The status code of each Pod; the last one counts for further Pods.
    pub(super) status: Vec<u16>,
    /// Names and values.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: String,
}

/// A running Pod. Dropping it closes its port and all connections.
pub(super) struct Pod {
    /// `SERVICE.NUMBER`, as cases name it.
    pub(super) name: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    state: Arc<PodState>,
    acceptor: Option<JoinHandle<()>>,
    /// Sockets that fill the accept queue of a black hole.
    _queue: Vec<socket2::Socket>,
}

struct PodState {
    service: String,
    name: String,
    number: usize,
    behavior: PodBehavior,
    tls: Option<Arc<ServerConfig>>,
    open: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Value>>,
    streams: Mutex<Vec<TcpStream>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Status, headers and body.
type PodResponse = (u16, Vec<(String, String)>, Vec<u8>);

/// A request as a Pod read it.
struct PodRequest {
    method: String,
    target: String,
    version: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body that had arrived at its first read.
    first_bytes: usize,
}

impl Pod {
    /// Starts Pod `number` of `service` on `address`, with TLS if `tls` is given.
    pub(super) fn start(
        service: &str,
        number: usize,
        address: SocketAddr,
        behavior: PodBehavior,
        tls: Option<Arc<ServerConfig>>,
    ) -> Pod {
        let name = format!("{service}.{number}");
        let state = Arc::new(PodState {
            service: service.to_owned(),
            name: name.clone(),
            number,
            behavior,
            tls,
            open: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            streams: Mutex::default(),
        });
        let (mut queue, mut acceptor) = (Vec::new(), None);
        if matches!(state.behavior, PodBehavior::BlackHole) {
            queue = fill_accept_queue(address);
        } else {
            let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            let shared = state.clone();
            acceptor = Some(std::thread::spawn(move || shared.accept(&listener)));
        }
        Pod { name, address, state, acceptor, _queue: queue }
    }

    /// The service that the case gave it.
    pub(super) fn service(&self) -> &str {
        &self.state.service
    }

    /// The requests so far, as the `Echo` behaviour describes them.
    pub(super) fn requests(&self) -> Vec<Value> {
        lock(&self.state.requests).clone()
    }

    /// The last request of HTTP/2 that one of the Pods got.
    pub(super) fn last_call(pods: &[Pod]) -> Option<Value> {
        let mut last = pods.iter().filter_map(|pod| pod.requests().pop());
        last.rfind(|seen| seen["http_version"] == "HTTP/2")
    }

    /// The number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.state.open.store(false, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes the accept loop, which then ends and closes the port.
            let _ = TcpStream::connect(self.address);
            let _ = acceptor.join();
        }
        for stream in lock(&self.state.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Listens with the shortest queue and fills it: the kernel then drops every further SYN.
fn fill_accept_queue(address: SocketAddr) -> Vec<socket2::Socket> {
    let socket = || {
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .expect("a socket can be made")
    };
    let listener = socket();
    listener.set_reuse_address(true).expect("a new socket takes options");
    listener.bind(&address.into()).unwrap_or_else(|error| panic!("{address}: {error}"));
    listener.listen(0).expect("a bound socket can listen");
    let mut sockets = vec![listener];
    for _ in 0..3 {
        let client = socket();
        client.set_nonblocking(true).expect("sockets have a non-blocking mode");
        let _ = client.connect(&address.into());
        sockets.push(client);
    }
    sockets
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PodState {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if !self.open.load(Ordering::SeqCst) {
                return;
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            let _ = stream.set_nodelay(true);
            if let Ok(copy) = stream.try_clone() {
                lock(&self.streams).push(copy);
            }
            let state = self.clone();
            std::thread::spawn(move || match state.behavior {
                PodBehavior::GrpcEcho => {
                    let tls = state.tls.clone();
                    super::grpc::serve(stream, tls, move |mut description| state.record(&mut description))
                }
                _ => state.serve_connection(stream),
            });
        }
    }

    /// Serves a connection until its first error, which is how a connection normally ends.
    fn serve_connection(&self, stream: TcpStream) -> io::Result<()> {
        let Some(config) = &self.tls else { return self.serve(BufReader::new(stream), None) };
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let client = stream.conn.peer_certificates().and_then(|chain| chain.first());
        let tls = json!({
            "sni": stream.conn.server_name(),
            "client_cn": client.and_then(|certificate| super::certificates::common_name(certificate)),
        });
        self.serve(BufReader::new(stream), Some(&tls))
    }

    fn serve<S: Stream>(&self, mut stream: BufReader<S>, tls: Option<&Value>) -> io::Result<()> {
        if matches!(self.behavior, PodBehavior::TcpEcho) {
            let mut buffer = [0; 4096];
            loop {
                let size = stream.read(&mut buffer)?;
                if size == 0 {
                    return Ok(());
                }
                stream.get_mut().write_all(&buffer[..size])?;
            }
        }
        if let PodBehavior::FastCgi(hello) = self.behavior {
            return super::fastcgi::serve(&mut stream, hello, |description| self.record(description));
        }
        while let Some(request) = read_request(&mut stream)? {
            let description = self.describe(&request, tls);
            lock(&self.requests).push(description.clone());
            if matches!(self.behavior, PodBehavior::WebSocketEcho) {
                return super::websocket::serve(&mut stream);
            }
            let (status, headers, body) = self.respond(&request, &description);
            let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            let bodiless = status == 204 || status == 304;
            if !bodiless {
                head += &format!("Content-Length: {}\r\n", body.len());
            }
            let mut response = (head + "\r\n").into_bytes();
            if request.method != "HEAD" && !bodiless {
                response.extend_from_slice(&body);
            }
            stream.get_mut().write_all(&response)?;
            stream.get_mut().flush()?;
        }
        Ok(())
    }

    /// Records a request of another protocol, with the names of the Pod.
    fn record(&self, description: &mut Value) {
        description["service"] = self.service.as_str().into();
        description["pod"] = self.name.as_str().into();
        lock(&self.requests).push(description.clone());
    }

    fn describe(&self, request: &PodRequest, tls: Option<&Value>) -> Value {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut headers = serde_json::Map::new();
        for (name, value) in &request.headers {
            let joined = match headers.get(name).and_then(Value::as_str) {
                Some(first) => format!("{first}, {value}"),
                None => value.clone(),
            };
            headers.insert(name.clone(), joined.into());
        }
        let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        json!({
            "service": self.service,
            "pod": self.name,
            "method": request.method,
            "path": percent_decoded(path),
            "raw_path": path,
            "query": query,
            "host": host.map(|(_, value)| value),
            "headers": headers,
            "body_length": request.body.len(),
            "first_bytes": request.first_bytes,
            "http_version": request.version,
            "tls": tls.is_some(),
            "tls_sni": tls.map(|tls| tls["sni"].clone()),
            "tls_client_cn": tls.map(|tls| tls["client_cn"].clone()),
        })
    }

    fn respond(&self, request: &PodRequest, description: &Value) -> PodResponse {
        let echo = |status| {
            (status, vec![header("Content-Type", "application/json")], description.to_string().into_bytes())
        };
        let path = request.target.split('?').next().unwrap_or_default();
        match &self.behavior {
            PodBehavior::Fixed(response) => self.fixed(response, |value| value.to_owned()),
            PodBehavior::Routes(rules) => {
                let matched =
                    rules.iter().find_map(|(pattern, response)| Some((pattern.captures(path)?, response)));
                match matched {
                    None => (404, Vec::new(), Vec::new()),
                    Some((groups, response)) => self.fixed(response, |value| {
                        let mut expanded = String::new();
                        groups.expand(value, &mut expanded);
                        expanded
                    }),
                }
            }
            PodBehavior::Slow => {
                let seconds = path.strip_prefix("/sleep/").and_then(|seconds| seconds.parse().ok());
                std::thread::sleep(Duration::from_secs_f64(seconds.unwrap_or(0.0)));
                echo(200)
            }
            PodBehavior::Httpbin => httpbin(request, path).unwrap_or_else(|| echo(200)),
            _ => echo(200),
        }
    }

    fn fixed(&self, response: &FixedResponse, expand: impl Fn(&str) -> String) -> PodResponse {
        let status = response.status.get(self.number).or(response.status.last()).copied().unwrap_or(200);
        let headers = response.headers.iter().map(|(name, value)| (name.clone(), expand(value))).collect();
        (status, headers, response.body.clone().into_bytes())
    }
}

/// The pages of httpbin that cases use.
fn httpbin(request: &PodRequest, path: &str) -> Option<PodResponse> {
    let mut segments = path.trim_start_matches('/').split('/');
    let text = |kind: &str, body: String| Some((200, vec![header("Content-Type", kind)], body.into_bytes()));
    match (segments.next()?, segments.next(), segments.next()) {
        ("status", Some(code), _) => Some((code.parse().ok()?, Vec::new(), Vec::new())),
        ("bytes", Some(count), _) => Some((
            200,
            vec![header("Content-Type", "application/octet-stream")],
            (0..count.parse::<usize>().ok()?).map(|at| (at % 251) as u8).collect(),
        )),
        ("xml", ..) => text("application/xml", format!("<list>{}</list>", "<item/>".repeat(60))),
        ("html", ..) => text("text/html; charset=utf-8", format!("<p>{}</p>", "word ".repeat(120))),
        ("basic-auth", Some(user), Some(password)) => {
            use base64::Engine;
            let wanted = format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
            );
            let given = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            if given.is_some_and(|(_, value)| *value == wanted) {
                None
            } else {
                Some((401, vec![header("WWW-Authenticate", "Basic realm=\"Fake Realm\"")], Vec::new()))
            }
        }
        ("response-headers", ..) => {
            let query = request.target.split_once('?')?.1;
            let headers = query.split('&').filter_map(|pair| pair.split_once('='));
            Some((
                200,
                headers.map(|(name, value)| header(name, &percent_decoded(value))).collect(),
                b"{}".to_vec(),
            ))
        }
        _ => None,
    }
}

/// Headers as a map or as pairs.
fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        Value::Array(pairs) => pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        401 => "Unauthorized",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Reads a request; `None` if the connection ends before it.
fn read_request<S: Read>(stream: &mut BufReader<S>) -> io::Result<Option<PodRequest>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.trim_end().splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target, version) = (word(), word(), word());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let value = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
    };
    let (mut body, mut first_bytes) = (Vec::new(), 0);
    if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let end = body.len() + size;
            body.resize(end, 0);
            stream.read_exact(&mut body[end - size..])?;
            if first_bytes == 0 {
                first_bytes = size;
            }
            stream.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = value("content-length") {
        let length: usize = length.parse().map_err(io::Error::other)?;
        body.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            let size = stream.read(&mut body[filled..])?;
            if size == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += size;
            if first_bytes == 0 {
                first_bytes = filled;
            }
        }
    }
    Ok(Some(PodRequest { method, target, version, headers, body, first_bytes }))
}
