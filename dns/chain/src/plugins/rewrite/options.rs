//! Reads the lines of `rewrite`.

use config::{ConfigError, Directive, Word};

use super::edns::{EdnsAction, EdnsRule, LocalData, OptionValue, Variable};
use super::matching::{MatchKind, TextRewrite};
use super::name::{AnswerRule, NameRule};
use super::rule::{RewriteRule, RuleChange};
use crate::codes::{Class, Rcode, Type};
use crate::setup::PluginOption;

pub(super) const SYNTAX: &[&str] = &[
    "rewrite name example.com example.org",
    "rewrite continue name suffix .example.com .example.org answer auto",
    "rewrite stop {\n    name regex (.*)\\.coredns\\.rocks {1}.default.svc.cluster.local\n    answer name (.*)\\.default\\.svc\\.cluster\\.local {1}.coredns.rocks\n}",
    "rewrite type ANY HINFO\nrewrite class CH IN",
    "rewrite edns0 local set 0xffee 0x61626364\nrewrite edns0 local set 0xffef {client_ip} revert\nrewrite edns0 nsid set\nrewrite edns0 subnet set 24 56",
    "rewrite ttl suffix .example.org 30-300\nrewrite rcode example.org NXDOMAIN NOERROR\nrewrite cname prefix a.example.org b.example.org",
];

pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[stop|continue]",
        default: "stop",
        about: "Whether further rules are looked at once this one has been applied. Every line is a rule of its own.",
    },
    PluginOption {
        syntax: "name [exact|prefix|suffix|substring|regex] FROM TO [metadata] [answer auto] [answer name RE TO] [answer value RE TO]",
        default: "exact",
        about: "The queried name. In TO of a regex `{1}` is a group, and with the word `metadata` `{PLUGIN/LABEL}` is metadata. `answer auto` turns the names of the answers back, which `exact` does by itself; `answer name` and `answer value` replace owners, and names in the data of SRV, MX, CNAME, NS, DNAME, NAPTR, SOA and PTR.",
    },
    PluginOption {
        syntax: "answer name|value RE TO",
        default: "",
        about: "The same on a line of its own in a block, after `name`.",
    },
    PluginOption { syntax: "[type FROM TO]", default: "", about: "The queried type." },
    PluginOption { syntax: "[class FROM TO]", default: "", about: "The queried class." },
    PluginOption {
        syntax: "[edns0 local set|append|replace CODE DATA [revert]]",
        default: "",
        about: "An option of the query. DATA is text, hexadecimal after `0x`, or one of `{qname} {qtype} {client_ip} {client_port} {protocol} {server_ip} {server_port}` and metadata. `unset CODE` removes it. With `revert` the reply has it as the client sent it. Likewise `edns0 nsid set`, and `edns0 subnet set V4BITS V6BITS` for the client's network.",
    },
    PluginOption {
        syntax: "[ttl [MATCH] NAME SECONDS|MIN-MAX]",
        default: "exact",
        about: "The TTL of the records in the answer to a name: a number, or bounds, of which one may be left out.",
    },
    PluginOption {
        syntax: "[rcode [MATCH] NAME FROM TO]",
        default: "exact",
        about: "The response code of the answer to a name, as name or number.",
    },
    PluginOption {
        syntax: "[cname [MATCH] FROM TO]",
        default: "exact",
        about: "The target of CNAMEs in answers. The new target is resolved by the server.",
    },
];

/// The greatest TTL (RFC 2181 §8).
const MAX_TTL: u32 = i32::MAX as u32;

/// The greatest response code that may be written as a number, as in CoreDNS.
const MAX_RCODE: u16 = 23;

const MATCHES: &str = "exact, prefix, suffix, substring or regex";

/// Reads a rule.
pub(super) fn read(directive: &Directive) -> Result<RewriteRule, ConfigError> {
    let mut words: Vec<&Word> = directive.args.iter().collect();
    for line in &directive.block {
        words.push(&line.name);
        words.extend(&line.args);
    }
    let mode = words.first().map(|word| word.text.to_ascii_lowercase());
    let stop = mode.as_deref() != Some("continue");
    if matches!(mode.as_deref(), Some("stop" | "continue")) {
        words.remove(0);
    }
    let Some((field, args)) = words.split_first() else {
        return Err(
            directive.error("no rule type specified for rewrite", "a field such as name, and its arguments")
        );
    };
    let reader = RuleReader { field, args };
    let change = match field.text.to_ascii_lowercase().as_str() {
        "name" => reader.name()?,
        "type" => {
            let [from, to] = reader.exactly("FROM TO")?;
            let code = |word: &Word| {
                let known = Type::named(word).map(|known| known.0);
                known.ok_or_else(|| {
                    word.error(format!("invalid type {word:?}", word = word.text), "a type such as AAAA")
                })
            };
            RuleChange::Type { from: code(from)?, to: code(to)? }
        }
        "class" => {
            let [from, to] = reader.exactly("FROM TO")?;
            let code = |word: &Word| {
                let known = Class::named(word).map(|known| known.0);
                known
                    .ok_or_else(|| word.error(format!("invalid class {:?}", word.text), "a class such as IN"))
            };
            RuleChange::Class { from: code(from)?, to: code(to)? }
        }
        "edns0" => RuleChange::Edns(reader.edns()?),
        "ttl" => reader.ttl()?,
        "rcode" => {
            let (names, [from, to]) = reader.matched("NAME FROM TO")?;
            RuleChange::Rcode { names, from: rcode(from)?, to: rcode(to)? }
        }
        "cname" => {
            let (kind, [from, to]) = reader.kind("FROM TO")?;
            let rewrite = TextRewrite::of_targets(kind, from, to);
            RuleChange::Cname(rewrite.map_err(|what| from.error(what, RuleReader::WANTED))?)
        }
        "answer" => {
            return Err(field.error("response rewrites must begin with a name rule", "name before answer"));
        }
        _ => {
            let known = ["name", "type", "class", "edns0", "ttl", "rcode", "cname"];
            let wanted = format!("one of {}", known.join(", "));
            return Err(field.error(format!("invalid rule type {:?}", field.text), wanted));
        }
    };
    Ok(RewriteRule { stop, change })
}

/// The arguments of a rule, behind its field.
struct RuleReader<'a> {
    field: &'a Word,
    args: &'a [&'a Word],
}

impl<'a> RuleReader<'a> {
    const WANTED: &'static str = "a name, or a pattern and its groups";

    fn wrong_count(&self, wanted: &str) -> ConfigError {
        let what = format!("{} rules do not take {} arguments", self.field, self.args.len());
        self.field.error(what, format!("{} {wanted}", self.field))
    }

    fn exactly<const N: usize>(&self, wanted: &str) -> Result<[&'a Word; N], ConfigError> {
        self.args.try_into().map_err(|_| self.wrong_count(wanted))
    }

    /// The kind of match, which may be left out, and the other arguments.
    fn kind<const N: usize>(&self, wanted: &str) -> Result<(MatchKind, [&'a Word; N]), ConfigError> {
        let (kind, rest) = match self.args.split_first() {
            Some((kind, rest)) if self.args.len() == N + 1 => {
                let known = MatchKind::named(kind);
                (known.ok_or_else(|| kind.error(format!("unknown match {:?}", kind.text), MATCHES))?, rest)
            }
            _ => (MatchKind::Exact, self.args),
        };
        Ok((kind, rest.try_into().map_err(|_| self.wrong_count(&format!("[MATCH] {wanted}")))?))
    }

    /// The names that a rule is about, and its other arguments.
    fn matched<const N: usize>(&self, wanted: &str) -> Result<(TextRewrite, [&'a Word; N]), ConfigError> {
        let has_kind = self.args.len() == N + 2;
        let (kind, rest) = match self.args.split_first() {
            Some((kind, rest)) if has_kind => {
                let known = MatchKind::named(kind);
                (known.ok_or_else(|| kind.error(format!("unknown match {:?}", kind.text), MATCHES))?, rest)
            }
            _ => (MatchKind::Exact, self.args),
        };
        let wrong = || self.wrong_count(&format!("[MATCH] {wanted}"));
        let (name, rest) = rest.split_first().ok_or_else(wrong)?;
        Ok((self.rewrite(kind, name, name)?, rest.try_into().map_err(|_| wrong())?))
    }

    /// A rewrite; as its own replacement a pattern refers to no group.
    fn rewrite(&self, kind: MatchKind, from: &Word, to: &Word) -> Result<TextRewrite, ConfigError> {
        let to = if std::ptr::eq(from, to) { "" } else { &**to };
        TextRewrite::new(kind, from, to).map_err(|what| from.error(what, Self::WANTED))
    }

    fn name(&self) -> Result<RuleChange, ConfigError> {
        let wanted = "[MATCH] FROM TO [answer auto] [answer name RE TO] [answer value RE TO]";
        let (kind, rest) = match self.args {
            [from, to] => (MatchKind::Exact, [*from, *to].to_vec()),
            [kind, rest @ ..] if rest.len() >= 2 => {
                let known = MatchKind::named(kind);
                let known =
                    known.ok_or_else(|| kind.error(format!("unknown match {:?}", kind.text), MATCHES))?;
                (known, rest.to_vec())
            }
            _ => return Err(self.wrong_count(wanted)),
        };
        let (from, to) = (rest[0], rest[1]);
        let mut rest = &rest[2..];
        let has_metadata = rest.first().is_some_and(|word| word.text.eq_ignore_ascii_case("metadata"));
        if has_metadata {
            rest = &rest[1..];
        }
        let (mut auto, mut answers) = (false, Vec::new());
        let mut is_first = true;
        while let Some((word, after)) = rest.split_first() {
            let is_answer = word.text.eq_ignore_ascii_case("answer");
            if is_first && !is_answer {
                return Err(word.error(format!("unexpected '{word}'"), "answer"));
            }
            is_first = false;
            let (field, after) = match after.split_first() {
                Some((field, after)) if is_answer => (field, after),
                _ if is_answer => {
                    return Err(word.error("answer of what?", "answer auto, answer name or answer value"));
                }
                _ => (word, after),
            };
            let in_data = match field.text.to_ascii_lowercase().as_str() {
                "auto" => {
                    auto = true;
                    rest = after;
                    continue;
                }
                "name" => false,
                "value" => true,
                _ => return Err(field.error(format!("unexpected '{field}'"), "auto, name or value")),
            };
            let [pattern, replacement, after @ ..] = after else {
                return Err(
                    field.error(format!("too few arguments for answer {field}"), "a pattern and a name")
                );
            };
            let rewrite = TextRewrite::new(MatchKind::Regex, pattern, replacement);
            let rewrite =
                rewrite.map_err(|what| pattern.error(what, "a pattern, and a name with its groups"))?;
            answers.push(AnswerRule { in_data, rewrite });
            rest = after;
        }
        if auto && answers.iter().any(|answer| !answer.in_data) {
            let what = "answer auto cannot be combined with answer name";
            return Err(self.field.error(what, "one of the two"));
        }
        if has_metadata && kind != MatchKind::Regex {
            let what = "metadata is only supported for regex name rules";
            return Err(self.field.error(what, "name regex FROM TO metadata"));
        }
        let rule = NameRule::new((kind, from, to), has_metadata, auto, answers);
        rule.map(Box::new).map(RuleChange::Name).map_err(|what| from.error(what, Self::WANTED))
    }

    fn ttl(&self) -> Result<RuleChange, ConfigError> {
        let (names, [range]) = self.matched("NAME SECONDS|MIN-MAX")?;
        let wrong =
            || range.error(format!("invalid TTL {range}"), "a number of seconds, MIN-MAX, MIN- or -MAX");
        let bound = |text: &str, default: u32| match text {
            "" => Ok(default),
            text => text.parse().map_err(|_| wrong()),
        };
        let (least, most) = match range.split_once('-') {
            None => (bound(range, 0)?, bound(range, 0)?),
            Some(("", "")) => return Err(wrong()),
            Some((least, most)) => (bound(least, 0)?, bound(most, MAX_TTL)?),
        };
        if range.is_empty() || least > most {
            return Err(wrong());
        }
        Ok(RuleChange::Ttl { names, least, most })
    }

    fn edns(&self) -> Result<EdnsRule, ConfigError> {
        let wanted = "local|nsid|subnet set|append|replace|unset …";
        let [kind, action, rest @ ..] = self.args else { return Err(self.wrong_count(wanted)) };
        let action = match action.text.to_ascii_lowercase().as_str() {
            "set" => EdnsAction::Set,
            "append" => EdnsAction::Append,
            "replace" => EdnsAction::Replace,
            "unset" => EdnsAction::Unset,
            _ => {
                return Err(action
                    .error(format!("invalid action {:?}", action.text), "set, append, replace or unset"));
            }
        };
        let unset = action == EdnsAction::Unset;
        let (rest, revert) = match rest {
            [rest @ .., last] if !unset && last.text.eq_ignore_ascii_case("revert") => (rest, true),
            rest => (rest, false),
        };
        let value = match (kind.text.to_ascii_lowercase().as_str(), rest) {
            ("local", [code]) if unset => {
                OptionValue::Local { code: option_code(code)?, data: LocalData::Bytes(Vec::new()) }
            }
            ("local", [code, data]) if !unset => {
                OptionValue::Local { code: option_code(code)?, data: local_data(data)? }
            }
            ("nsid", []) => OptionValue::Nsid,
            ("subnet", []) if unset => OptionValue::Subnet { v4: 0, v6: 0 },
            ("subnet", [v4, v6]) if !unset => {
                OptionValue::Subnet { v4: v4.integer(0..=32)?, v6: v6.integer(0..=128)? }
            }
            ("local" | "nsid" | "subnet", _) => return Err(self.wrong_count(wanted)),
            _ => {
                return Err(kind.error(format!("invalid rule type {:?}", kind.text), "local, nsid or subnet"));
            }
        };
        Ok(EdnsRule { action, value, revert })
    }
}

fn rcode(word: &Word) -> Result<u16, ConfigError> {
    let number = word.text.parse::<u16>().ok().filter(|code| *code <= MAX_RCODE);
    let known = number.or_else(|| Rcode::named(word).map(|known| known.0));
    known.ok_or_else(|| {
        let wanted = format!("a response code such as NXDOMAIN, or its number up to {MAX_RCODE}");
        word.error(format!("invalid rcode {:?}", word.text), wanted)
    })
}

/// A number as Go writes it: decimal, or in another base after `0x`, `0b`, `0o` or `0`.
fn option_code(word: &Word) -> Result<u16, ConfigError> {
    let lower = word.text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let code = u16::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'));
    code.ok_or_else(|| word.error(format!("invalid option code {:?}", word.text), "a number such as 0xffee"))
}

fn local_data(word: &Word) -> Result<LocalData, ConfigError> {
    if let Some(name) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let variable = Variable::named(name);
        let wanted = "{qname}, {qtype}, {client_ip}, {client_port}, {protocol}, {server_ip}, {server_port} or metadata";
        return variable
            .map(LocalData::Variable)
            .ok_or_else(|| word.error(format!("unsupported variable name {:?}", word.text), wanted));
    }
    let bytes = match word.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map_err(|error| {
            word.error(format!("{:?}: {error}", word.text), "pairs of hexadecimal digits")
        })?,
        None => word.text.clone().into_bytes(),
    };
    Ok(LocalData::Bytes(bytes))
}
