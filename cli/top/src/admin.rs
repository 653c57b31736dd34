//! The admin address: one document, and a stream of events.

use std::fmt;

use bytes::BytesMut;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use telemetry::AdminAddress;
use tokio::net::TcpStream;

use crate::event::LiveEvent;
use crate::state::State;

/// The longest state or event that is read, in bytes.
const MAX_DOCUMENT: usize = 64 << 20;

/// Why there are no figures.
#[derive(Debug)]
pub enum AdminError {
    /// The address, and why it does not answer.
    Connection(AdminAddress, String),
    /// The address, the path, and a status that is not 200, with the first line of its body.
    Status(AdminAddress, String, StatusCode, String),
    /// The address, the path, and what is wrong with the document.
    Document(AdminAddress, String, String),
    /// The terminal cannot be used.
    Terminal(std::io::Error),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(address, reason) => write!(
                f,
                "{address}/: {reason}; is Portolan running, and is this its admin address? (--admin; for a Pod: kubectl port-forward POD 10254)"
            ),
            Self::Status(address, path, status, line) => {
                write!(f, "{address}{path}: status {}: {line}", status.as_u16())
            }
            Self::Document(address, path, reason) => write!(f, "{address}{path}: {reason}"),
            Self::Terminal(error) => {
                write!(f, "the terminal cannot be used: {error}; --once prints one screen")
            }
        }
    }
}

impl std::error::Error for AdminError {}

/// A client of one admin address.
pub(crate) struct Admin {
    address: AdminAddress,
}

impl Admin {
    pub(crate) fn new(address: AdminAddress) -> Self {
        Self { address }
    }

    pub(crate) fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// `/live/state`.
    pub(crate) async fn state(&self) -> Result<State, AdminError> {
        let path = "/live/state";
        let body = Limited::new(self.get(path).await?, MAX_DOCUMENT);
        let body = body.collect().await.map_err(|error| self.document(path, &error))?.to_bytes();
        self.parse(path, &body)
    }

    /// `/live/events`.
    pub(crate) async fn events(&self) -> Result<LiveEvents, AdminError> {
        let body = self.get(LiveEvents::PATH).await?;
        Ok(LiveEvents { admin: Self::new(self.address.clone()), body, read: BytesMut::new() })
    }

    async fn get(&self, path: &str) -> Result<Incoming, AdminError> {
        let failed = |reason: String| AdminError::Connection(self.address.clone(), reason);
        let stream = TcpStream::connect((self.address.host(), self.address.port())).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| failed(error.to_string()))?;
        // The error of a connection is also that of its request.
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, self.address.authority())
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), 4096).collect().await;
        let text =
            body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        let line = match status {
            StatusCode::NOT_FOUND => "this process has no live page (--live-page=off?)",
            _ => text.lines().next().unwrap_or_default(),
        };
        Err(AdminError::Status(self.address.clone(), path.to_owned(), status, line.to_owned()))
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, text: &[u8]) -> Result<T, AdminError> {
        serde_json::from_slice(text).map_err(|error| self.document(path, &error))
    }

    fn document(&self, path: &str, error: &dyn fmt::Display) -> AdminError {
        AdminError::Document(self.address.clone(), path.to_owned(), error.to_string())
    }
}

/// Server-sent events (WHATWG HTML §9.2), each with its data in one line.
pub(crate) struct LiveEvents {
    admin: Admin,
    body: Incoming,
    read: BytesMut,
}

impl LiveEvents {
    const PATH: &str = "/live/events";

    /// The next event. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<LiveEvent, AdminError> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                if let Some(data) = line.strip_prefix(b"data: ") {
                    return self.admin.parse(Self::PATH, data);
                }
            }
            if self.read.len() > MAX_DOCUMENT {
                return Err(self.admin.document(Self::PATH, &"an event is too long"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(self.admin.document(Self::PATH, &error)),
                None => return Err(self.admin.document(Self::PATH, &"the stream has ended")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these parts, of which each is written when the reader asks for the next event.
    async fn serve(parts: &'static [&'static str]) -> AdminAddress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await.unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn an_event_may_come_in_parts_and_the_end_is_an_error() {
        const PARTS: &[&str] = &[
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            ": comment\n\ndata: {\"at\"",
            ":3}\n\ndata: {\"at\":4}\n",
            "\ndata: {",
        ];
        let mut events = Admin::new(serve(PARTS).await).events().await.unwrap();
        assert_eq!(events.next().await.unwrap().at, 3.0);
        assert_eq!(events.next().await.unwrap().at, 4.0);
        assert!(events.next().await.unwrap_err().to_string().ends_with("/live/events: the stream has ended"));
    }

    #[tokio::test]
    async fn an_error_names_the_address_and_the_reason() {
        let forbidden = serve(&["HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n403 only\n"]).await;
        let error = Admin::new(forbidden.clone()).state().await.unwrap_err().to_string();
        assert_eq!(error, format!("{forbidden}/live/state: status 403: 403 only"));
        let text = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"]).await;
        let error = Admin::new(text).state().await.unwrap_err().to_string();
        assert!(error.contains("/live/state: expected"), "{error}");
    }
}
