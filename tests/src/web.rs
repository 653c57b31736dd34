//! A web client that compares responses with a table in text form.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::http::{Connection, Response, Trust};
use crate::wait;

/// A client of an ingress proxy ("the edge") on the loopback interface.
#[derive(Clone, Copy, Debug)]
pub struct EdgeClient {
    /// Port of `http:` URLs.
    pub http: u16,
    /// Port of `https:` URLs.
    pub https: u16,
}

/// A client of the ingress proxy on ports 80 and 443.
pub const EDGE: EdgeClient = EdgeClient { http: 80, https: 443 };

impl EdgeClient {
    /// GETs a URL with additional header lines of the form `name: value`.
    pub fn get(&self, url: &str, headers: &[&str]) -> Result<Response, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("{url} has no scheme"));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let connection = match scheme {
            "https" => Connection::tls(local(self.https), host, &Trust::AnyCertificate),
            _ => Connection::plain(local(self.http)),
        };
        let mut lines = vec![("host", host), ("user-agent", "tests")];
        lines.extend(headers.iter().filter_map(|line| line.split_once(": ")));
        let response =
            connection.and_then(|mut connection| connection.send("GET", &format!("/{path}"), &lines, b""));
        response.map_err(|error| error.to_string())
    }

    /// The certificate that the proxy presents for `host`.
    pub fn certificate(&self, host: &str) -> Result<CertificateDer<'static>, String> {
        let connection = Connection::tls(local(self.https), host, &Trust::AnyCertificate)
            .map_err(|error| error.to_string())?;
        connection.certificate().cloned().ok_or_else(|| "no certificate was presented".to_owned())
    }

    /// Waits until every row of `table` matches.
    ///
    /// A row is `URL [name: value] = STATUS WORD`; header and word are optional. The word is the name of the backend that
    /// answered or, for redirects, the `Location`.
    #[track_caller]
    pub fn expect(&self, limit: Duration, table: &str) {
        wait::until("the responses", limit, || self.matches(table));
    }

    /// Checks every row of `table` once.
    pub fn matches(&self, table: &str) -> Result<(), String> {
        let rows: Vec<&str> = table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert!(!rows.is_empty(), "a table without rows proves nothing");
        let wrong: Vec<String> = rows.into_iter().filter_map(|row| self.problem(row)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
    }

    fn problem(&self, row: &str) -> Option<String> {
        let (request, wanted) = row.split_once(" = ").unwrap_or_else(|| panic!("no ` = ` in row {row:?}"));
        let (url, header) = match request.trim().split_once(" [") {
            Some((url, header)) => (url.trim(), Some(header.trim_end_matches(']'))),
            None => (request.trim(), None),
        };
        let response = match self.get(url, header.as_slice()) {
            Ok(response) => summary(&response),
            Err(problem) => problem,
        };
        (response != wanted.trim()).then(|| format!("{request}: got {response:?}, expected {wanted:?}"))
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn summary(response: &Response) -> String {
    let word = response.header("location").or_else(|| response.header("x-backend"));
    format!("{} {}", response.status, word.unwrap_or_default()).trim_end().to_owned()
}
