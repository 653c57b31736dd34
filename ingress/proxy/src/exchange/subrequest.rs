//! Sends the requests that the proxy makes itself, such as those of external authentication and copies of requests.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode, Uri};
use ingress_routes::plan::subrequest::{Subrequest, SubrequestResponse};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::loop_detection::{LOOP_ID, MAX_PASSES, passes};
use crate::exchange::open::open_any;
use crate::state::worker::Worker;
use crate::upstream::limit::UpstreamSlot;
use crate::upstream::subrequest_connection::{
    ByteStream, ServerIdentity, SubrequestConnection, SubrequestError,
};

/// The field in which passes through the proxy are counted.
const CDN_LOOP: &str = "cdn-loop";

/// The response to a subrequest. The error is 502 or 504, with the reason in the log under the name of the upstream that the request
/// was meant for.
pub(crate) async fn fetch(
    worker: &Worker,
    upstream: &str,
    request: &Subrequest,
) -> Result<SubrequestResponse, StatusCode> {
    let fetched = tokio::time::timeout(request.timeout, exchange(worker, request)).await;
    fetched.unwrap_or(Err(SubrequestError::Timeout)).map_err(|error| {
        worker.upstream_log.failed(upstream, &format_args!("subrequest to {}", request.url), &error);
        match error {
            SubrequestError::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    })
}

async fn exchange(worker: &Worker, request: &Subrequest) -> Result<SubrequestResponse, SubrequestError> {
    let host = request.url.host().ok_or(SubrequestError::Url("the URL has no host"))?;
    let is_tls = match request.url.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(SubrequestError::Url("the URL is neither http nor https")),
    };
    if is_loop(request) {
        let what = "the request loops: it has come back through subrequests too often";
        return Err(SubrequestError::Failed(what.to_owned()));
    }
    let port = request.url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = worker.resolver.addresses(host, port, request.allow_local).await;
    let addresses = addresses.map_err(|error| SubrequestError::Failed(error.to_string()))?;
    let tls_name = is_tls.then_some(host);
    let (head, is_head) = (head(request), request.method == Method::HEAD);
    let body = request.body.as_deref().unwrap_or_default();
    if request.keep_alive.is_some() {
        let take = || worker.subrequest_pool.take(&addresses, tls_name, worker.clock.now());
        while let Some(mut connection) = take() {
            match connection.send(&head, body, is_head).await {
                // The server closes idle connections when it wants to.
                Err(SubrequestError::Closed) => {}
                answered => return answered.inspect(|_| keep(worker, connection, request)),
            }
        }
    }
    let mut connection = connect(worker, &addresses, tls_name, request.timeout).await?;
    let response = connection.send(&head, body, is_head).await?;
    keep(worker, connection, request);
    Ok(response)
}

/// Keeps a connection for another request, if the request that it has served allows it.
fn keep(worker: &Worker, mut connection: SubrequestConnection, request: &Subrequest) {
    if let Some(rules) = request.keep_alive {
        connection.rules = rules;
        worker.subrequest_pool.put(connection, worker.clock.now());
    }
}

fn is_loop(request: &Subrequest) -> bool {
    let values = request.headers.iter().filter(|(name, _)| name == CDN_LOOP);
    let members = values.flat_map(|(_, value)| value.as_bytes().split(|byte| *byte == b','));
    passes(members.map(<[u8]>::trim_ascii)) >= MAX_PASSES
}

/// A connection to the first address that accepts one.
async fn connect(
    worker: &Worker,
    addresses: &[SocketAddr],
    tls_name: Option<&str>,
    timeout: Duration,
) -> Result<SubrequestConnection, SubrequestError> {
    let (address, stream, slot) = connect_tcp(worker, addresses, timeout).await?;
    let stream: Box<dyn ByteStream> = match tls_name {
        None => Box::new(stream),
        Some(name) => {
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| SubrequestError::Url("the host is no TLS name"))?;
            Box::new(TlsConnector::from(worker.subrequest_tls.clone()).connect(name, stream).await?)
        }
    };
    let server = ServerIdentity { address, tls_name: tls_name.map(Into::into) };
    Ok(SubrequestConnection::new(server, stream, Some(slot), worker.clock.now()))
}

async fn connect_tcp(
    worker: &Worker,
    addresses: &[SocketAddr],
    timeout: Duration,
) -> Result<(SocketAddr, TcpStream, UpstreamSlot), SubrequestError> {
    let mut last = SubrequestError::Failed("the host has no address".to_owned());
    for address in addresses {
        // It may be the proxy itself, which then serves the authentication server: `is_loop` ends what would go on for ever.
        match open_any(worker, *address, timeout).await {
            Ok((stream, slot)) => return Ok((*address, stream, slot)),
            Err(error) => last = SubrequestError::Failed(format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The encoded head. Without `auth-keepalive` the connection is closed after the response, as in nginx.
fn head(request: &Subrequest) -> Bytes {
    let Subrequest { method, url, headers, .. } = request;
    let mut head = BytesMut::with_capacity(1024);
    head.put_slice(method.as_str().as_bytes());
    head.put_slice(b" ");
    head.put_slice(target(url).as_bytes());
    head.put_slice(b" HTTP/1.1\r\n");
    let mut field = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            head.put_slice(part);
        }
    };
    if !headers.iter().any(|(name, _)| *name == http::header::HOST) {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        field(b"Host", authority.rsplit_once('@').map_or(authority, |(_, host)| host).as_bytes());
    }
    for (name, value) in headers {
        field(name.as_str().as_bytes(), value.as_bytes());
    }
    if let Some(body) = &request.body {
        field(b"Content-Length", body.len().to_string().as_bytes());
    }
    field(b"CDN-Loop", LOOP_ID);
    if request.keep_alive.is_none() {
        field(b"Connection", b"close");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

fn target(url: &Uri) -> &str {
    url.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use http::{HeaderName, HeaderValue};
    use ingress_routes::KeepAlive;

    use super::*;

    #[test]
    fn the_head_has_the_host_of_the_url_unless_one_is_given() {
        let mut request = Subrequest::get("http://user@auth.example:8080/check?a=b".parse().unwrap());
        assert_eq!(
            head(&request),
            "GET /check?a=b HTTP/1.1\r\nHost: auth.example:8080\r\nCDN-Loop: portolan\r\nConnection: close\r\n\r\n"
        );
        request.headers.push((HOST, HeaderValue::from_static("other")));
        request.keep_alive = Some(KeepAlive::default());
        assert_eq!(head(&request), "GET /check?a=b HTTP/1.1\r\nhost: other\r\nCDN-Loop: portolan\r\n\r\n");
        request.body = Some(Bytes::from_static(b"hello"));
        assert!(head(&request).ends_with(b"host: other\r\nContent-Length: 5\r\nCDN-Loop: portolan\r\n\r\n"));
    }

    #[test]
    fn a_request_that_has_passed_here_eight_times_is_a_loop() {
        let mut request = Subrequest::get("http://auth.example/".parse().unwrap());
        let mut add = |value: &'static str| {
            let name = HeaderName::from_static(CDN_LOOP);
            request.headers.push((name, HeaderValue::from_static(value)));
            is_loop(&request)
        };
        assert!(!add("other, portolan; a=b"));
        assert!(!add("portolan,Portolan , portolan,portolan,portolan,portolan,portolan"));
        assert!(add("portolan"));
    }
}
