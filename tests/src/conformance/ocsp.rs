//! The OCSP responder of a case, and the check of a stapled response.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use net::ocsp::OcspSubject;
use net::ocsp::testing::{TestResponse, respond};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;

/// The proxy asks no loopback address. This one is local to the namespace of the tests.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 80);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A responder that answers "good" for every certificate, signed by its issuer.
pub(super) struct OcspResponder {
    url: String,
    listener: TcpListener,
}

impl OcspResponder {
    /// Starts a responder with the key of the issuer.
    pub(super) fn start(key: KeyPair) -> io::Result<OcspResponder> {
        let listener = TcpListener::bind((ADDRESS, 0))?;
        let url = format!("http://{}/", listener.local_addr()?);
        let accepting = listener.try_clone()?;
        std::thread::spawn(move || {
            // `Drop` shuts the socket down, which ends this.
            while let Ok((stream, _)) = accepting.accept() {
                // A client that goes away is of no interest.
                let _ = answer(stream, &key);
            }
        });
        Ok(OcspResponder { url, listener })
    }

    /// Its URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for OcspResponder {
    fn drop(&mut self) {
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.listener),
            nix::sys::socket::Shutdown::Both,
        );
    }
}

fn answer(stream: TcpStream, key: &KeyPair) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    let mut request = vec![0; length];
    stream.read_exact(&mut request)?;
    let response = respond(&request, &TestResponse::default(), key);
    let (status, body) = match response {
        Some(response) => ("200 OK", response),
        None => ("400 Bad Request", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(&[head.as_bytes(), &body].concat())
}

/// Checks the response that was stapled to a certificate.
///
/// # Errors
/// When its status is another one.
pub(super) fn check(wanted: &str, chain: &[CertificateDer<'_>], response: &[u8]) -> Result<(), String> {
    if response.is_empty() {
        return Err("no OCSP response is stapled".to_owned());
    }
    let subject = OcspSubject::new(chain).map_err(|error| error.to_string())?;
    match (wanted, subject.check(response, SystemTime::now())) {
        ("good", Ok(_)) => Ok(()),
        (wanted, found) => Err(format!("the OCSP response is {:?} instead of {wanted}", found.err())),
    }
}
