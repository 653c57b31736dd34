//! Headers of responses, of clients, and of requests to endpoints.

use http::{HeaderName, HeaderValue};

use crate::snippet::Context::{Auth, Http, Location, LocationIf, Server};
use crate::snippet::directive::{Call, Fate, SnippetDirective, Target};
use crate::snippet::expires::Expires;
use crate::snippet::header_rules::{AddedHeader, FieldChange, FieldName, HeaderRule};
use crate::snippet::level::CookieDirective;
use crate::snippet::text::SnippetText;

const LEVELS: &[crate::snippet::Context] = &[Http, Server, Location, LocationIf];
const OWN_OF_LOCATIONS: &str = "every location of ingress-nginx has its own, so that it has no effect here";

const ONE: SnippetDirective = SnippetDirective {
    name: "",
    arguments: "",
    contexts: LEVELS,
    elsewhere: None,
    protects: false,
    fate: Fate::Refused,
    doc: "",
};

pub(in crate::snippet) const HEADERS: &[SnippetDirective] = &[
    SnippetDirective {
        name: "more_set_headers",
        arguments: "[`-s` statuses] [`-t` types] [`-a`] `Name: value` …",
        fate: Fate::Honoured(more_set_headers),
        doc: "replaces fields of all responses, also of redirects and error pages; without a value it removes them",
        ..ONE
    },
    SnippetDirective {
        name: "more_clear_headers",
        arguments: "[`-s` statuses] [`-t` types] name …",
        fate: Fate::Honoured(more_clear_headers),
        doc: "a name may end with `*`",
        ..ONE
    },
    SnippetDirective {
        name: "more_set_input_headers",
        arguments: "[`-t` types] [`-r`] `Name: value` …",
        fate: Fate::Honoured(more_set_input_headers),
        doc: "replaces fields of the client on the way to endpoints; variables and authentication servers still see those of the client",
        ..ONE
    },
    SnippetDirective {
        name: "more_clear_input_headers",
        arguments: "[`-t` types] name …",
        fate: Fate::Honoured(more_clear_input_headers),
        doc: "a name may end with `*`; as `more_set_input_headers`",
        ..ONE
    },
    SnippetDirective {
        name: "add_header",
        arguments: "name value [`always`]",
        fate: Fate::Honoured(add_header),
        doc: "without `always` with the statuses 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308; fields of an outer level count where an \
              inner one has none",
        ..ONE
    },
    SnippetDirective {
        name: "expires",
        arguments: "time | `epoch` | `max` | `off`",
        fate: Fate::Honoured(expires),
        doc: "with the same statuses; `modified`, times of the day and variables are refused",
        ..ONE
    },
    SnippetDirective {
        name: "default_type",
        arguments: "type",
        contexts: &[Http, Server, Location],
        fate: Fate::Honoured(default_type),
        doc: "the type of the body of `return`",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_hide_header",
        arguments: "name",
        contexts: &[Http, Server, Location],
        fate: Fate::Honoured(proxy_hide_header),
        doc: "removes a field of endpoints",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_pass_header",
        arguments: "`Server`",
        contexts: &[Http, Server, Location],
        fate: Fate::Honoured(proxy_pass_header),
        doc: "passes the field of endpoints on; other names are refused",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_set_header",
        arguments: "name value",
        contexts: &[Location, Auth],
        elsewhere: Some(OWN_OF_LOCATIONS),
        fate: Fate::Honoured(proxy_set_header),
        doc: "replaces a field of requests to endpoints, in `auth-snippet` to the authentication server, also one that the proxy sends itself; an \
              empty value removes it. With a variable that is not known the field is removed",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_cookie_path",
        arguments: "path replacement",
        contexts: &[Location],
        elsewhere: Some(OWN_OF_LOCATIONS),
        fate: Fate::Honoured(proxy_cookie),
        doc: "as the annotation of this name, before it",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_cookie_domain",
        arguments: "domain replacement",
        contexts: &[Location],
        elsewhere: Some(OWN_OF_LOCATIONS),
        fate: Fate::Honoured(proxy_cookie),
        doc: "as the annotation of this name, before it",
        ..ONE
    },
];

/// Names that describe the connection or the length of a message, which only the proxy knows.
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields of requests that ingress-nginx writes itself, whatever the client sent.
const OF_THE_PROXY: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
];

fn name(text: &str) -> Result<String, String> {
    let error = || format!("{text:?} is not the name of a header");
    // An asterisk may be in a name, but here it stands for others.
    let name = HeaderName::try_from(text).ok().filter(|_| !text.contains('*')).ok_or_else(error)?;
    if OF_THE_CONNECTION.contains(&name.as_str()) {
        return Err(format!("{text} belongs to the connection, and only the proxy sets it"));
    }
    Ok(text.to_owned())
}

fn value(text: &str, call: &Call<'_>) -> Result<SnippetText, String> {
    let value = SnippetText::parse(text, call.known)?;
    if value.literals().any(|text| HeaderValue::from_bytes(text.as_bytes()).is_err()) {
        return Err(format!("{text:?} has a line break or another control character"));
    }
    Ok(value)
}

/// The options of a directive of headers-more and what follows them.
fn options<'s>(call: &Call<'s>, allowed: &str) -> Result<(HeaderRule, Vec<&'s str>), String> {
    let (mut rule, mut rest) = <(HeaderRule, Vec<&str>)>::default();
    let mut words = call.words().into_iter();
    while let Some(word) = words.next() {
        let option = word.strip_prefix('-').filter(|option| option.len() == 1);
        match option {
            Some(option) if !allowed.contains(option) => {
                return Err(format!("has the option {word}, which is not known"));
            }
            Some("a") => rule.appends = true,
            Some("r") => rule.replaces_only = true,
            Some(option) => {
                let list = words.next().ok_or_else(|| format!("should have a list after {word}"))?;
                let items = list.split_whitespace();
                if option == "t" {
                    rule.types.extend(items.map(str::to_owned));
                    continue;
                }
                for item in items {
                    let status = item.parse().ok().filter(|code| (100..1000).contains(code));
                    rule.statuses.push(status.ok_or_else(|| format!("{item:?} should be a status"))?);
                }
            }
            None => rest.push(word),
        }
    }
    if rest.is_empty() {
        return Err("should have a header".into());
    }
    Ok((rule, rest))
}

/// The fields `Name: value`; without a value they are removed.
fn fields(words: &[&str], call: &Call<'_>) -> Result<Vec<FieldChange>, String> {
    let change = |word: &&str| {
        let (field, text) = word.split_once(':').unwrap_or((word, ""));
        let text = text.trim();
        if text.is_empty() {
            return Ok(FieldChange { name: pattern(field.trim())?, value: None });
        }
        let name = FieldName::One(name(field.trim())?);
        Ok(FieldChange { name, value: Some(value(text, call)?) })
    };
    words.iter().map(change).collect()
}

/// A name that may end with `*`.
fn pattern(text: &str) -> Result<FieldName, String> {
    match text.strip_suffix('*') {
        Some("") => Err("\"*\" would remove every header".into()),
        Some(prefix) => Ok(FieldName::Prefix(name(prefix)?)),
        None => Ok(FieldName::One(name(text)?)),
    }
}

fn names(words: &[&str]) -> Result<Vec<FieldChange>, String> {
    // As in headers-more, what follows a colon does not matter.
    let field = |word: &&str| pattern(word.split(':').next().unwrap_or_default().trim());
    words.iter().map(|word| Ok(FieldChange { name: field(word)?, value: None })).collect()
}

fn more_set_headers(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let (rule, words) = options(call, "sta")?;
    target.level.response_rules.push(HeaderRule { changes: fields(&words, call)?, ..rule });
    Ok(())
}

fn more_clear_headers(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let (rule, words) = options(call, "st")?;
    target.level.response_rules.push(HeaderRule { changes: names(&words)?, ..rule });
    Ok(())
}

fn more_set_input_headers(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let (rule, words) = options(call, "tr")?;
    input(target, HeaderRule { changes: fields(&words, call)?, ..rule })
}

fn more_clear_input_headers(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let (rule, words) = options(call, "t")?;
    input(target, HeaderRule { changes: names(&words)?, ..rule })
}

fn input(target: &mut Target<'_>, rule: HeaderRule) -> Result<(), String> {
    for FieldChange { name, .. } in &rule.changes {
        if let FieldName::One(name) = name
            && OF_THE_PROXY.iter().any(|known| known.eq_ignore_ascii_case(name))
        {
            return Err(format!("{name} is replaced by the proxy; use proxy_set_header"));
        }
    }
    target.level.input_rules.push(rule);
    Ok(())
}

fn add_header(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let (field, text, always) = match call.words()[..] {
        [field, text] => (field, text, false),
        [field, text, "always"] => (field, text, true),
        _ => return Err("should have a name, a value, and always or nothing".into()),
    };
    target.level.added.push(AddedHeader { name: name(field)?, value: value(text, call)?, always });
    Ok(())
}

fn expires(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    const WANTED: &str = "a time, epoch, max or off";
    let text = call.only(WANTED)?;
    target.level.expires = Some(Expires::parse(text).ok_or_else(|| format!("{text:?} should be {WANTED}"))?);
    Ok(())
}

fn default_type(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let text = call.only("a media type")?;
    let value = HeaderValue::try_from(text).map_err(|_| format!("{text:?} should be a media type"))?;
    target.level.default_type = Some(value);
    Ok(())
}

fn proxy_hide_header(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    target.level.hidden.push(name(call.only("the name of a header")?)?);
    Ok(())
}

fn proxy_pass_header(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    match call.only("Server")? {
        name if name.eq_ignore_ascii_case("server") => {
            target.level.passes_server = true;
            Ok(())
        }
        other => Err(format!("{other:?} should be Server; other hidden headers are not passed on")),
    }
}

fn proxy_set_header(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let [field, text] = call.words()[..] else { return Err("should have a name and a value".into()) };
    // Snippets repeat what ingress-nginx does anyway for WebSockets.
    const UPGRADES: [(&str, &[&str]); 2] =
        [("connection", &["upgrade", "$connection_upgrade"]), ("upgrade", &["$http_upgrade"])];
    let repeats = |own: &str, values: &[&str]| {
        field.eq_ignore_ascii_case(own) && values.iter().any(|value| value.eq_ignore_ascii_case(text))
    };
    if UPGRADES.iter().any(|(own, values)| repeats(own, values)) {
        return Ok(());
    }
    let field = name(field)?;
    match value(text, call) {
        Ok(value) => target.level.upstream_headers.push((field, value)),
        Err(error) => {
            // A client's field of this name must not take its place.
            target.level.upstream_headers.push((field.clone(), SnippetText::default()));
            return Err(format!("{error}; {field} is removed from requests"));
        }
    }
    Ok(())
}

fn proxy_cookie(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let is_domain = call.name == "proxy_cookie_domain";
    let at = call.line.at;
    let [from, to] = call.words()[..] else {
        return Err("should have two texts: what is replaced and by what".into());
    };
    target.level.cookies.push(CookieDirective { is_domain, from: from.to_owned(), to: to.to_owned(), at });
    Ok(())
}
