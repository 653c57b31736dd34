//! `portolan explain --admin URL`: the explanation of a running instance.

use explain::Tree;

use crate::admin_client::{AdminUrl, encoded};
use crate::args::{ExplainArgs, ExplainSubject, NameClient};
use crate::command_error::CommandError;

/// Asks the instance.
///
/// # Errors
/// When it cannot be reached or refuses (exit code 1).
pub(super) fn explain(admin: &AdminUrl, args: &ExplainArgs) -> Result<Tree, CommandError> {
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
    let body = admin.get(&format!("/live/explain?{}", query.join("&")))?;
    serde_json::from_slice(&body)
        .map_err(|error| CommandError::outside(format!("{admin}: the response is no explanation: {error}")))
}
