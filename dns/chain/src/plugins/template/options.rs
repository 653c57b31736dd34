//! Reads the lines of `template`.

use config::{Directive, ServerBlock, Word};
use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};

use super::data::FUNCTIONS;
use super::fixed_answer::FixedAnswer;
use super::metrics::MatchCounters;
use super::syntax::TextTemplate;
use super::{Constants, RecordTemplate, Template};
use crate::codes::{Class, Rcode, Type};
use crate::expression::{self, ExprValue, Expression};
use crate::names::Zones;
use crate::plugins::view::expression_text;
use crate::setup::{PluginOption, SetupErrors, each_line};

pub(super) const SYNTAX: &[&str] = &[
    "template ANY ANY invalid {\n    rcode NXDOMAIN\n    authority \"invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)\"\n    ederror 21 \"Blocked according to RFC2606\"\n}",
    "template IN A example.org {\n    match (^|[.])ip-10-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]org[.]$\n    answer \"{{ .Name }} 60 IN A 10.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}\"\n    additional \"ns0.example.org. IN A 203.0.113.8\"\n    fallthrough\n}",
    "template IN A example.org {\n    match ^(?P<number>[0-9]+)[.]\n    var octet int(group('number')) % 256\n    expr incidr(client_ip(), '10.0.0.0/8')\n    answer \"{{ .Name }} 60 IN A 10.0.0.{{ .Var.octet }}\"\n    upstream\n}",
];

pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "CLASS TYPE [ZONE…]",
        default: "the zones of the server block",
        about: "Class and type of the queries that are answered, or `ANY`. Several directives are looked at in order; one whose class, type or zone does not fit is skipped.",
    },
    PluginOption {
        syntax: "match REGEX…",
        default: ".*",
        about: "The name must match one of the patterns. It is in lower case and ends in a dot.",
    },
    PluginOption {
        syntax: "answer TEXT",
        default: "",
        about: "A record in presentation format, 3600 s without a TTL. In `{{ }}`: fields `.Name .Zone .Class .Type .Remote .Match .Group.NAME .Var.NAME .Question.Name .Question.Qtype .Question.Qclass .Message.Id`, `.Meta \"LABEL\"`; `$x :=`; pipelines; `if`, `else`, `with`, `range`, `end`; functions `and or not eq ne lt le gt ge index len print printf parseInt`. Other parts of Go's text/template are an error. A CNAME in the answer to A or AAAA is followed by the server.",
    },
    PluginOption { syntax: "additional TEXT", default: "", about: "The same for the additional section." },
    PluginOption { syntax: "authority TEXT", default: "", about: "The same for the authority section." },
    PluginOption { syntax: "rcode CODE", default: "NOERROR", about: "The response code." },
    PluginOption {
        syntax: "ederror CODE [TEXT]",
        default: "",
        about: "An extended error (RFC 8914) for clients with EDNS.",
    },
    PluginOption {
        syntax: "var NAME EXPRESSION",
        default: "",
        about: "A value for the texts, `.Var.NAME`, and for later expressions. The language is that of `view`, with `group('NAME')` and `group(NUMBER)`. A value that cannot be found is SERVFAIL.",
    },
    PluginOption {
        syntax: "expr EXPRESSION",
        default: "",
        about: "A condition. If it does not hold, the name counts as one that does not match.",
    },
    PluginOption {
        syntax: "fallthrough [ZONE…]",
        default: "",
        about: "A name that does not match goes to the next template, and in the end to the next plugin, for all names or those of the zones. Otherwise it is SERVFAIL.",
    },
    PluginOption { syntax: "upstream", default: "", about: "Accepted without effect." },
];

const KNOWN: &[&str] = &[
    "match",
    "answer",
    "additional",
    "authority",
    "rcode",
    "ederror",
    "var",
    "expr",
    "fallthrough",
    "upstream",
];

/// Reads a directive of a server block with this many keys.
pub(super) fn read(directive: &Directive, block: &ServerBlock, keys: usize) -> Result<Template, SetupErrors> {
    let single = |error| vec![error];
    let args = directive.args_from(2, "CLASS TYPE [ZONE…]").map_err(single)?;
    let qclass = Class::named(&args[0])
        .ok_or_else(|| single(args[0].error(format!("invalid RR class {}", args[0]), "IN, CH, HS or ANY")))?;
    let qtype = Type::named(&args[1]).ok_or_else(|| {
        single(args[1].error(format!("invalid RR type {}", args[1]), "a type such as AAAA, or ANY"))
    })?;
    let labels = config::zones_or_keys(&args[2..], block).map_err(single)?;
    let zones = Zones::new(labels.iter().map(String::as_str));
    let counters = MatchCounters::new(keys, labels.len());
    let mut template = Template {
        qclass: qclass.0,
        qtype: qtype.0,
        zones,
        labels,
        patterns: Vec::new(),
        variables: Vec::new(),
        constants: Constants::default(),
        conditions: Vec::new(),
        records: Vec::new(),
        rcode: rcode::NOERROR,
        error: None,
        fallthrough: None,
        fixed: None,
        counters,
    };
    each_line(directive, |line| template.line(line))?;
    if template.variables.is_empty() && template.conditions.is_empty() {
        let only_type = (qtype.0 != rtype::ANY).then_some(qtype);
        let answer = |zone: &String| FixedAnswer::new(&template.records, zone, only_type);
        template.fixed = template.labels.iter().map(answer).collect();
    }
    Ok(template)
}

impl Template {
    fn line(&mut self, line: &Directive) -> Result<(), config::ConfigError> {
        match line.name.text.as_str() {
            "match" => {
                for word in line.args_from(1, "REGEX…")? {
                    self.patterns.push(word.parse("a regular expression")?);
                }
            }
            "answer" => self.texts(Section::Answer, line)?,
            "additional" => self.texts(Section::Additional, line)?,
            "authority" => self.texts(Section::Authority, line)?,
            "rcode" => {
                let word = line.arg("CODE")?;
                let known = Rcode::named(word);
                let wanted = "a response code such as NXDOMAIN";
                self.rcode = known.ok_or_else(|| word.error(format!("unknown rcode {word}"), wanted))?.0;
            }
            "ederror" => {
                let args = line.args_between(1, 2, "CODE [TEXT]")?;
                let text = args.get(1).map(|text| text.text.as_str()).unwrap_or_default();
                let code: u16 = args[0].integer(0..=u16::MAX)?;
                self.error = Some([&code.to_be_bytes(), text.as_bytes()].concat());
            }
            "var" => {
                let args = line.args_from(2, "NAME EXPRESSION")?;
                let name = &args[0];
                let is_name = name.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_')
                    && name.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_');
                if !is_name {
                    return Err(name.error(format!("invalid variable name {name}"), "letters, digits and _"));
                }
                if expression::is_reserved(name) || FUNCTIONS.contains(&&**name) {
                    return Err(name.error(format!("{name} is a word of the language"), "another name"));
                }
                if self.variables.iter().any(|(known, _)| **known == **name) {
                    return Err(name.error(format!("variable {name} is defined twice"), "another name"));
                }
                let (expression, constant) = self.expression(&args[1..])?;
                self.constants.0.extend(constant.map(|value| (name.text.clone(), value)));
                self.variables.push((name.text.clone(), expression));
            }
            "expr" => {
                let (expression, _) = self.expression(line.args_from(1, "EXPRESSION")?)?;
                self.conditions.push(expression);
            }
            "fallthrough" => {
                let zones = Zones::read(&line.args)?;
                self.fallthrough = Some(if zones.is_empty() { Zones::new(["."]) } else { zones });
            }
            // Was needed before CoreDNS 1.7.
            "upstream" => {}
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }

    fn texts(&mut self, section: Section, line: &Directive) -> Result<(), config::ConfigError> {
        for word in line.args_from(1, "TEXT")? {
            let text = TextTemplate::parse(word).map_err(|why| {
                word.error(format!("could not compile template: {word}: {why}"), "a record with {{ }}")
            })?;
            self.records.push(RecordTemplate { section, text });
        }
        Ok(())
    }

    /// An expression, and its value if that is the same for all queries.
    fn expression(&self, words: &[Word]) -> Result<(Expression, Option<ExprValue>), config::ConfigError> {
        let text = expression_text(words);
        let variables: Vec<String> = self.variables.iter().map(|(name, _)| name.clone()).collect();
        let parsed = Expression::parse(&text, &variables, &FUNCTIONS)
            .and_then(|expression| Ok((expression.constant(&self.constants).transpose()?, expression)));
        let (constant, expression) = parsed
            .map_err(|why| words[0].error(format!("invalid expression: {text}: {why}"), "an expression"))?;
        Ok((expression, constant))
    }
}
