//! Error pages, with nginx's texts, because tests and users look for them.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use ingress_wire::request_head::HeadError;

/// The status that nginx logs when the client has closed the connection before the response.
pub(crate) const CLIENT_CLOSED: u16 = 499;

/// The status with which nginx closes a connection without a response.
pub(crate) const NO_RESPONSE: u16 = 444;

/// The error page of a status.
pub(crate) fn body(status: StatusCode) -> Bytes {
    page(&title(status))
}

/// The `Content-Type` of error pages.
pub(crate) const CONTENT_TYPE: &[u8] = b"text/html";

/// A complete response to a refused head; the connection is closed after it.
pub(crate) fn refusal(refusal: HeadError, now: SystemTime) -> (StatusCode, Vec<u8>) {
    let status = status_of(refusal);
    let body = page(match refusal {
        HeadError::Malformed => "400 Bad Request",
        HeadError::HeaderTooLarge => "400 Request Header Or Cookie Too Large",
        HeadError::PlainHttp => "400 The plain HTTP request was sent to HTTPS port",
        HeadError::UriTooLong => "414 Request-URI Too Large",
        HeadError::Method => "405 Not Allowed",
        HeadError::Coding => "501 Not Implemented",
        HeadError::Version => "505 HTTP Version Not Supported",
    });
    let line = reason(status).or(status.canonical_reason()).unwrap_or_default();
    let mut response = format!(
        "HTTP/1.1 {} {line}\r\nDate: {}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        status.as_u16(),
        httpdate::fmt_http_date(now),
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(&body);
    (status, response)
}

/// nginx's reason phrase where it differs from the standard's. The titles of its pages differ from both.
pub(crate) fn reason(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        302 => "Moved Temporarily",
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => return None,
    })
}

/// The status of the response to a refused head.
pub(crate) fn status_of(refusal: HeadError) -> StatusCode {
    match refusal {
        HeadError::Malformed | HeadError::HeaderTooLarge | HeadError::PlainHttp => StatusCode::BAD_REQUEST,
        HeadError::UriTooLong => StatusCode::URI_TOO_LONG,
        HeadError::Method => StatusCode::METHOD_NOT_ALLOWED,
        HeadError::Coding => StatusCode::NOT_IMPLEMENTED,
        HeadError::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    }
}

/// nginx's page for its own codes that clients see as 400, with a line that tells what is wrong.
pub(crate) fn bad_request(note: &str) -> Bytes {
    let (title, note) = (format!("400 {note}"), format!("<center>{note}</center>\r\n"));
    page_with(&title, "400 Bad Request", &note)
}

fn page(title: &str) -> Bytes {
    // nginx adds a line below the heading only for its own codes, such as 494 and 497.
    let note = match title {
        "400 Request Header Or Cookie Too Large" => "<center>Request Header Or Cookie Too Large</center>\r\n",
        "400 The plain HTTP request was sent to HTTPS port" => {
            "<center>The plain HTTP request was sent to HTTPS port</center>\r\n"
        }
        _ => "",
    };
    let heading = if note.is_empty() { title } else { "400 Bad Request" };
    page_with(title, heading, note)
}

fn page_with(title: &str, heading: &str, note: &str) -> Bytes {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{note}\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    .into()
}

/// The title of nginx's page for a status.
fn title(status: StatusCode) -> Cow<'static, str> {
    Cow::Borrowed(match status.as_u16() {
        300 => "300 Multiple Choices",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        304 => "304 Not Modified",
        305 => "305 Use Proxy",
        306 => "306 Switch Proxy",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Authorization Required",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Not Allowed",
        408 => "408 Request Time-out",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        429 => "429 Too Many Requests",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        500 => "500 Internal Server Error",
        code => return format!("{code} {}", status.canonical_reason().unwrap_or("Unknown")).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_look_like_nginx() {
        assert_eq!(
            body(StatusCode::NOT_FOUND),
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        let now = SystemTime::UNIX_EPOCH;
        let (status, response) = refusal(HeadError::HeaderTooLarge, now);
        assert_eq!(status, 400);
        let response = String::from_utf8(response).unwrap();
        assert!(
            response.starts_with(
                "HTTP/1.1 400 Bad Request\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: "
            )
        );
        assert!(response.contains("<title>400 Request Header Or Cookie Too Large</title>"));
        assert!(response.contains("<h1>400 Bad Request</h1>"));
        let (_, response) = refusal(HeadError::UriTooLong, now);
        assert!(response.starts_with(b"HTTP/1.1 414 Request-URI Too Large\r\n"));
    }

    #[test]
    fn every_status_that_the_proxy_sends_has_its_title() {
        for code in (300..=308).chain([400, 401, 403, 404, 405, 408, 413, 429, 500, 502, 503, 504]) {
            let status = StatusCode::from_u16(code).unwrap();
            assert!(title(status).starts_with(&code.to_string()), "{code}");
        }
    }
}
