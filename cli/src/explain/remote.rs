//! `portolan explain --admin ADDR`: the explanation of a running instance.

use std::time::{Duration, Instant};

use explain::{ExplainedRequest, Tree};
use telemetry::AdminAddress;

use super::followed_request;
use crate::admin_client::{AdminClient, encoded};
use crate::args::{ExplainArgs, ExplainSubject, NameClient};
use crate::command_error::CommandError;

/// How long the report of a request may take after its response.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after a question for the report.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks the instance.
///
/// # Errors
/// When it cannot be reached or refuses (exit code 1).
pub(super) fn explain(address: &AdminAddress, args: &ExplainArgs) -> Result<Tree, CommandError> {
    let admin = &AdminClient(address.clone());
    let mut fields: Vec<(&str, String)> = Vec::new();
    match &args.subject {
        ExplainSubject::Request(request) => {
            fields.push(("url", request.url()));
            fields.push(("method", request.method.clone()));
            fields.push(("from", request.from.to_string()));
            fields.extend(request.headers.iter().map(|header| ("header", header.clone())));
        }
        ExplainSubject::Stream(stream) => fields.push(("url", stream.to_string())),
        ExplainSubject::Name { name, qtype, from } => {
            fields.push(("name", name.clone()));
            fields.push(("type", dns_chain::explain::type_name(*qtype)));
            fields.push((
                "from",
                match from {
                    NameClient::Address(address) => address.to_string(),
                    NameClient::Pod(namespace, pod) => format!("{namespace}/{pod}"),
                },
            ));
            if args.sends {
                fields.push(("send", "1".to_owned()));
            }
        }
    }
    let query: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let tree = tree(admin, &admin.get(&format!("/live/explain?{}", query.join("&")))?)?;
    match (&args.trace, &args.subject) {
        (Some(address), ExplainSubject::Request(request)) => Ok(tree.with(follow(admin, request, address)?)),
        _ => Ok(tree),
    }
}

fn tree(admin: &AdminClient, body: &[u8]) -> Result<Tree, CommandError> {
    serde_json::from_slice(body).map_err(|error| {
        CommandError::outside(format!("{}: the response is no explanation: {error}", admin.0))
    })
}

/// Sends the request with a secret of the instance, and asks for what happened to it.
fn follow(admin: &AdminClient, request: &ExplainedRequest, address: &str) -> Result<Tree, CommandError> {
    let failed = |reason: String| CommandError::outside(format!("--trace: {reason}"));
    let armed = admin.get_with("/live/follow", "X-Portolan-Follow: arm\r\n").map_err(failed)?;
    let secret = String::from_utf8_lossy(&armed).trim().to_owned();
    followed_request::send(request, address, &secret).map_err(failed)?;
    let start = Instant::now();
    loop {
        let body = admin.get(&format!("/live/follow?secret={}", encoded(&secret)))?;
        if !body.is_empty() {
            return self::tree(admin, &body);
        }
        if start.elapsed() > REPORT_TIMEOUT {
            return Err(failed(
                "the instance has not seen the request: is the address one of its own? --connect changes it"
                    .to_owned(),
            ));
        }
        std::thread::sleep(PAUSE);
    }
}
