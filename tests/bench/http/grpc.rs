//! gRPC: unary calls over HTTP/2 from the client and to the endpoint, with h2load as the load.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

use crate::http::http2::{CONNECTIONS, REQUESTS, STREAMS, h2load, load_for};
use crate::http::stream::LoadTls;
use crate::http::{cost_ratio, envoy, micros, nginx, portolan};
use crate::process::Process;
use crate::samples::Samples;
use crate::server::Server;
use crate::table::Table;
use crate::testbed::{Testbed, free_port, write};

/// A call of the health service, whose path every gRPC client knows.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// A message: not compressed, its length, and a field with the name of a service.
const MESSAGE: &[u8] = b"\0\0\0\0\x0f\x0a\x0dshop.v1.Items";
/// The response: the status SERVING.
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";

/// Measures Portolan beside Envoy and nginx with `grpc_pass` and the settings of ingress-nginx.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        format!("gRPC unary over TLS, {CONNECTIONS} connections with {STREAMS} streams"),
        &["server", "CPU µs per call", "× nginx as ingress-nginx", "calls/s on one core"],
    );
    let program = h2load()?;
    let (backend, tls) = (start_backend(testbed)?, LoadTls::new()?);
    let message = testbed.folder("grpc")?.join("message");
    write(&message, &String::from_utf8_lossy(MESSAGE))?;
    let call = |server: SocketAddr, length: Duration| {
        let data = format!("--data={}", message.display());
        load_for(
            &program,
            server,
            PATH,
            &[&data, "-Hcontent-type: application/grpc", "-Hte: trailers"],
            length,
        )
    };
    let mut proxies = Vec::new();
    let port = backend.address.port();
    for (name, server) in [
        (nginx::INGRESS, nginx::for_grpc(testbed, port, &tls)),
        (envoy::NAME, envoy::for_grpc(testbed, port, &tls)),
        (portolan::NAME, portolan::for_grpc(testbed, port, &tls)),
    ] {
        match server.and_then(|server| ready(server, |server| call(server, Duration::ZERO).answers > 0)) {
            Ok(server) => proxies.push((name, server, Samples::default())),
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (_, server, samples) in &mut proxies {
            samples.measure(&server.process, || call(server.address, length));
        }
    }
    let baseline = proxies.iter().find(|(name, ..)| *name == nginx::INGRESS).map(|(.., samples)| samples);
    for (name, _, samples) in &proxies {
        let rate = format!("{:.0}", samples.rate().unwrap_or(0.0));
        table.row(vec![(*name).to_owned(), micros(samples), cost_ratio(samples, baseline), rate]);
        table.note_failures(name, "grpc", samples);
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, servers in turn", length.as_secs_f64()));
    table.note(format!("h2load with {REQUESTS} calls at a time; its handshakes are part of a round"));
    Ok(table)
}

fn ready(mut server: Server, answers: impl Fn(SocketAddr) -> bool) -> Result<Server, String> {
    let address = server.address;
    server.process.wait_until(|| TcpStream::connect(address).is_ok() && answers(address))?;
    Ok(server)
}

fn start_backend(testbed: &Testbed) -> Result<Server, String> {
    let port = free_port()?;
    let itself = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let mut command = Command::new(itself);
    command.args(["serve", "grpc", &port.to_string()]);
    let mut process = Process::start(&mut command, testbed.load, &testbed.folder("grpc-backend")?)?;
    process.wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
    Ok(Server::new(process, port))
}

/// Serves calls over HTTP/2 without TLS until the process is terminated.
pub(crate) fn serve(port: &str) -> Result<(), String> {
    let port: u16 = port.parse().map_err(|_| format!("{port}: expected a port"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the backend's runtime: {error}"))?;
    let failed = |error: std::io::Error| format!("127.0.0.1:{port}: {error}");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        loop {
            let (stream, _) = listener.accept().await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            // Ends when the proxy closes the connection.
            tokio::spawn(async move { serve_connection(stream).await });
        }
    })
}

async fn serve_connection(stream: tokio::net::TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        // A call may wait for its message, which comes in a frame of its own.
        tokio::spawn(answer(request, respond));
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece?.len())?;
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from_static(SERVING), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
