//! Text with variables of nginx in it, as in `upstream-vhost: $service_name.$namespace.svc`.

use std::borrow::Cow;

use super::Rule;
use crate::exchange::Exchange;
use crate::path::encode;
use crate::pattern::{Captures, Pattern};
use crate::template::{CompiledPart, CompiledText, split};
pub(super) use crate::template::{TemplatePart, is_name_character};
use crate::variables::RequestVariable;

/// The parts of a text; `None` if a `$` is not followed by a name or a digit.
pub(super) fn parts(text: &str) -> Option<Vec<TemplatePart>> {
    Some(split(text).ok()?.into_iter().map(|(_, part)| part).collect())
}

/// The value of a variable that is the same for all requests of a rule; `None` if there is no such variable.
pub(super) fn rule_variable(name: &str, rule: &Rule<'_>) -> Option<String> {
    Some(match name {
        "server_name" => rule.host.into(),
        "location_path" => rule.path.into(),
        "namespace" => rule.ingress.map_or("", |ingress| &ingress.namespace).into(),
        "ingress_name" => rule.ingress.map_or("", |ingress| &ingress.name).into(),
        "service_name" => rule.service.map_or("", |service| &service.name).into(),
        "service_port" => rule.service.map(|service| service.port.to_string()).unwrap_or_default(),
        _ => return None,
    })
}

/// The names that [`rule_variable`] knows.
const RULE_VARIABLES: &[&str] =
    &["server_name", "location_path", "namespace", "ingress_name", "service_name", "service_port"];

/// A text whose variables are known. Those of the rule are filled in when its route is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Template(Vec<TemplatePart>);

impl Template {
    /// Parses a text; `None` if a name in it is neither a variable nor a group of `pattern`.
    pub(super) fn parse(text: &str, pattern: Option<&Pattern>) -> Option<Self> {
        let is_known = |part: &TemplatePart| match part {
            TemplatePart::Text(_) => true,
            TemplatePart::Group(_) => pattern.is_some(),
            TemplatePart::Name(name) => {
                pattern.is_some_and(|pattern| pattern.group_number(name).is_some())
                    || RULE_VARIABLES.contains(&name.as_str())
                    || RequestVariable::parse(name).is_some()
            }
        };
        let parts = parts(text)?;
        parts.iter().all(is_known).then_some(Self(parts))
    }

    /// The text, if it is the same for all rules.
    pub(super) fn without_rule(&self) -> Option<RuleText> {
        let mut text = CompiledText::with_capacity(self.0.len());
        for part in &self.0 {
            match part {
                TemplatePart::Text(part) => text.push_text(part),
                TemplatePart::Group(_) => return None,
                TemplatePart::Name(name) => text.push(TextVariable::Request(RequestVariable::parse(name)?)),
            }
        }
        Some(RuleText(text))
    }

    /// The text for a rule, of variables of the request alone. Groups, which it should not have, are left out.
    pub(super) fn request_text(&self, rule: &Rule<'_>) -> CompiledText<RequestVariable> {
        let mut text = CompiledText::with_capacity(self.0.len());
        for part in &self.0 {
            match part {
                TemplatePart::Text(part) => text.push_text(part),
                TemplatePart::Group(_) => {}
                TemplatePart::Name(name) => match rule_variable(name, rule) {
                    Some(value) => text.push_text(&value),
                    None => RequestVariable::parse(name).into_iter().for_each(|variable| text.push(variable)),
                },
            }
        }
        text
    }

    /// The text for a rule. A named group hides the variable of the same name, as in nginx.
    pub(super) fn of_rule(&self, rule: &Rule<'_>, pattern: Option<&Pattern>) -> RuleText {
        let mut text = CompiledText::with_capacity(self.0.len());
        for part in &self.0 {
            match part {
                TemplatePart::Text(part) => text.push_text(part),
                TemplatePart::Group(number) => text.push(TextVariable::Group(*number)),
                TemplatePart::Name(name) => {
                    if let Some(number) = pattern.and_then(|pattern| pattern.group_number(name)) {
                        text.push(TextVariable::Group(number));
                    } else if let Some(value) = rule_variable(name, rule) {
                        text.push_text(&value);
                    } else if let Some(variable) = RequestVariable::parse(name) {
                        text.push(TextVariable::Request(variable));
                    }
                }
            }
        }
        RuleText(text)
    }
}

/// A text with the variables of requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleText(CompiledText<TextVariable>);

/// A variable that is known while a request runs.
#[derive(Clone, Debug, PartialEq)]
enum TextVariable {
    /// Of the match that the text is made for.
    Group(usize),
    Request(RequestVariable),
}

impl RuleText {
    /// Its value for a request, in a form that can be in a header. Hot: a text without variables is borrowed.
    pub(super) fn value(&self, exchange: &Exchange) -> Cow<'_, str> {
        self.value_with(exchange, &Captures::new())
    }

    /// The same, as bytes.
    pub(super) fn bytes(&self, exchange: &Exchange) -> Cow<'_, [u8]> {
        match self.value(exchange) {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        }
    }

    /// The same, with the groups of a match.
    pub(super) fn value_with(&self, exchange: &Exchange, captures: &Captures<'_>) -> Cow<'_, str> {
        let parts = match self.0.parts() {
            [] => return Cow::Borrowed(""),
            [CompiledPart::Text(text)] => return Cow::Borrowed(text),
            parts => parts,
        };
        let mut value = String::new();
        for part in parts {
            match part {
                CompiledPart::Text(text) => value.push_str(text),
                CompiledPart::Variable(TextVariable::Group(number)) => {
                    push(&mut value, captures.get(*number).copied().unwrap_or(""));
                }
                CompiledPart::Variable(TextVariable::Request(variable)) => {
                    push(&mut value, &variable.value(exchange));
                }
            }
        }
        Cow::Owned(value)
    }
}

/// Adds the value of a variable. `$uri` is decoded and may contain a line break, which would begin another header.
fn push(text: &mut String, value: &str) {
    for c in value.chars() {
        if c.is_control() || !c.is_ascii() {
            text.push_str(&encode(c.encode_utf8(&mut [0; 4])));
        } else {
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Key, PathType, PortRef, ServiceBackend};

    use super::*;
    use crate::exchange::tests::get;
    use crate::family_values::FamilyValues;
    use crate::pattern::PatternCache;

    #[test]
    fn variables_are_filled_in() {
        let (key, patterns) = (Key::new("shop", "main"), PatternCache::default());
        let service = ServiceBackend { name: "web".into(), port: PortRef::Number(80) };
        let rule = Rule {
            default_backend: None,
            globals: &FamilyValues::default(),
            host: "a.example",
            ingress: Some(&key),
            service: Some(&service),
            path: "/p",
            kind: PathType::Prefix,
            patterns: &patterns,
            zones: &crate::limits::LimitZones::default(),
            host_snippet: None,
            port_in_redirects: None,
            http_port: 80,
            https_port: 443,
        };
        let exchange = get("http://A.example:8080/x%0Ay?q=1", &[("x-user", "a b")]);
        for (text, value) in [
            ("", ""),
            ("inner.example:81", "inner.example:81"),
            ("$service_name.$namespace.svc:$service_port", "web.shop.svc:80"),
            ("${ingress_name}-$location_path $server_name", "main-/p a.example"),
            ("$host|$http_host|$http_x_user|$arg_q|$http_none", "a.example|A.example:8080|a b|1|"),
            ("$uri", "/x%0Ay"),
        ] {
            let template = Template::parse(text, None).expect(text).of_rule(&rule, None);
            assert_eq!(template.value(&exchange), value, "{text}");
        }
        let pattern = Pattern::new("^/(?<host>x)(y)?", false).unwrap();
        let template = Template::parse("$1-$2-$host", Some(&pattern)).expect("groups of the pattern");
        let captures = Captures::from_slice(&["/x", "x", ""]);
        let text = template.of_rule(&rule, Some(&pattern));
        assert_eq!(text.value_with(&exchange, &captures), "x--x");
        for bad in ["$", "a$-b", "${host", "$none", "$1", "$0"] {
            assert_eq!(Template::parse(bad, None), None, "{bad}");
        }
        assert_eq!(Template::parse("$0", Some(&pattern)), None);
    }
}
