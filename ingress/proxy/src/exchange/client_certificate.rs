//! Whether the certificate of a client allows a request (`auth-tls-*`).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use ingress_routes::{ClientRefusal, DirectResponse, Exchange, RouteMatch};

use crate::client::connection::ClientConnection;
use crate::client::pages;

/// Checks the certificate by the rules of the host, and records it in the exchange. `Some` answers the request.
pub(crate) fn check(
    client: &ClientConnection,
    found: &RouteMatch<'_>,
    exchange: &mut Exchange,
) -> Option<DirectResponse> {
    let rules = found.client_auth()?;
    let certificate = match &client.client_handshake {
        // As in nginx, the rules do not apply without TLS. What the client says about a certificate is removed.
        None => Arc::new(rules.without_tls()),
        Some(tls) => match tls.certificate(rules, exchange.host()) {
            Some(certificate) => certificate,
            None => {
                exchange.client_certificate = Some(Arc::default());
                return Some(DirectResponse::status(StatusCode::MISDIRECTED_REQUEST));
            }
        },
    };
    let response = rules.refusal(&certificate).map(|refusal| match refusal {
        ClientRefusal::InvalidCertificate => bad_request("The SSL certificate error"),
        ClientRefusal::NoCertificate => bad_request("No required SSL certificate was sent"),
        ClientRefusal::ErrorPage(url) => DirectResponse::redirect(StatusCode::FOUND, url.to_owned()),
        ClientRefusal::Unauthorized => {
            let body = Bytes::from_static(b"client certificate unauthorized");
            DirectResponse { body: Some((body, HTML)), ..DirectResponse::status(StatusCode::FORBIDDEN) }
        }
    });
    exchange.client_certificate = Some(certificate);
    response
}

const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// nginx's page for its codes 495 and 496.
fn bad_request(note: &str) -> DirectResponse {
    let body = Some((pages::bad_request(note), HTML));
    DirectResponse { body, ..DirectResponse::status(StatusCode::BAD_REQUEST) }
}
