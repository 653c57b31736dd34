//! `allow`, `deny`, `satisfy`, `auth_request`, `auth_request_set`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::snippet::Context::{Http, Location, Server};
use crate::snippet::auth_variable::AuthVariable;
use crate::snippet::directive::{Call, Fate, SnippetDirective, Target};
use crate::snippet::level::AddressRule;
use crate::snippet::text::variable_name;

const ONE: SnippetDirective = SnippetDirective {
    name: "",
    arguments: "",
    contexts: &[Location],
    elsewhere: None,
    protects: true,
    fate: Fate::Refused,
    doc: "",
};

pub(in crate::snippet) const ACCESS: &[SnippetDirective] = &[
    SnippetDirective {
        name: "deny",
        arguments: "address | network | `all`",
        contexts: &[Http, Server, Location],
        fate: Fate::Honoured(address),
        doc: "403; the first of these rules that covers the client decides, after those of the annotations `denylist-source-range` and \
              `allowlist-source-range`. Rules of http and of the server count where a location has none",
        ..ONE
    },
    SnippetDirective {
        name: "allow",
        arguments: "address | network | `all`",
        contexts: &[Http, Server, Location],
        fate: Fate::Honoured(address),
        doc: "as `deny`",
        ..ONE
    },
    SnippetDirective {
        name: "satisfy",
        arguments: "`all` | `any`",
        fate: Fate::Honoured(satisfy),
        doc: "as the annotation",
        ..ONE
    },
    SnippetDirective {
        name: "auth_request",
        arguments: "`off`",
        fate: Fate::Honoured(auth_request),
        doc: "in `configuration-snippet`: as the annotation `enable-global-auth: \"false\"`; together with `auth-url` it closes the routes, since nginx \
              refuses both. Another value is refused: use `auth-url`",
        ..ONE
    },
    SnippetDirective {
        name: "auth_request_set",
        arguments: "`$variable` value",
        elsewhere: Some(
            "ingress-nginx has such directives in every location with `auth-url`, and they replace those outside of it",
        ),
        protects: false,
        fate: Fate::Honoured(auth_request_set),
        doc: "the value may have `$upstream_http_name`, `$upstream_cookie_name` and `$upstream_status` of the response of the authentication server. \
              The variable has it once the server has answered, so that directives of the rewriting group do not see it, and is empty on routes \
              without `auth-url`",
        ..ONE
    },
];

fn auth_request_set(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let [name, value] = call.words()[..] else { return Err("should have a variable and a value".into()) };
    let name = variable_name(name, call.known)?;
    target.level.auth_variables.push(AuthVariable::parse(name, value, call.known)?);
    Ok(())
}

fn address(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    const WANTED: &str = "an IP address, a network, or all";
    let text = call.only(WANTED)?;
    let single = |text: &str| text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = match text {
        "all" => None,
        text => {
            let network = text.parse::<IpNet>().ok().or_else(|| single(text));
            Some(network.ok_or_else(|| format!("{text:?} should be {WANTED}"))?)
        }
    };
    target.level.addresses.push(AddressRule { allows: call.name == "allow", network });
    Ok(())
}

fn satisfy(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    const WANTED: &str = "all or any";
    let any = match call.only(WANTED)? {
        "any" => true,
        "all" => false,
        other => return Err(format!("{other:?} should be {WANTED}")),
    };
    target.level.satisfy_any = Some(any);
    Ok(())
}

fn auth_request(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    match call.only("off")? {
        "off" => {
            target.level.without_auth_request = true;
            Ok(())
        }
        other => Err(format!(
            "{other:?} should be off; an authentication server is named by the annotation auth-url"
        )),
    }
}
