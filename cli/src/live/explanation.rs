//! The explain box: `/live/explain?url=https://shop.example/&method=GET&header=Cookie: a=b`.

use explain::ExplainedRequest;
use http::StatusCode;
use telemetry::AdminResponse;

use super::{LiveIngress, json};

/// Headers that one explanation may have.
const MAX_HEADERS: usize = 32;

/// The explanation of the request that a query describes.
pub fn respond(ingress: Option<&LiveIngress>, query: &str) -> AdminResponse {
    let Some(ingress) = ingress else {
        return AdminResponse::text(StatusCode::NOT_FOUND, "this process serves no Ingresses\n");
    };
    let request = match request(query) {
        Ok(request) => request,
        Err(reason) => return AdminResponse::text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    };
    json(ingress.explain(&request).to_json())
}

fn request(query: &str) -> Result<ExplainedRequest, String> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let fields: Vec<(String, String)> = query
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let url = field("url").filter(|url| !url.is_empty()).ok_or("wanted url=https://shop.example/cart")?;
    let mut request = ExplainedRequest::get(url).map_err(|error| error.to_string())?;
    if let Some(method) = field("method").filter(|method| !method.is_empty()) {
        request.method = method.to_owned();
    }
    if let Some(from) = field("from").filter(|from| !from.is_empty()) {
        request.from = from.parse().map_err(|_| format!("from={from}: wanted an IP address"))?;
    }
    let headers = fields.iter().filter(|(name, value)| name == "header" && !value.is_empty());
    request.headers = headers.map(|(_, value)| value.clone()).take(MAX_HEADERS).collect();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_describes_a_request() {
        let request = request(
            "url=https%3A%2F%2Fshop.example%2Fa%3Fb&header=Cookie%3A+a%3Db&from=192.0.2.1&method=POST",
        )
        .unwrap();
        assert_eq!(request.url(), "https://shop.example/a?b");
        assert_eq!((request.headers, request.method.as_str()), (vec!["Cookie: a=b".to_owned()], "POST"));
        for query in ["", "url=", "url=ftp://x/", "url=http://x/&from=nowhere"] {
            assert!(super::request(query).is_err(), "{query}");
        }
    }
}
