//! `template`: answers from patterns of names and texts of records.

mod data;
mod options;
mod syntax;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Owner, Reply, Section};
use futures_util::future::BoxFuture;
use regex::Regex;
use telemetry::metrics::{Counter, Family, Registry};

use crate::codes::{Class, Type};
use crate::expression::{ExprValue, Expression, Scope};
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::presentation::{self, TextRecord};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};
use data::TemplateData;
use syntax::TextTemplate;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "template",
    about: "answers from patterns of names and texts of records",
    syntax: options::SYNTAX,
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        TemplateFamilies::new(metrics);
    },
    setup,
};

/// The EDNS option of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

struct Templates {
    templates: Vec<Template>,
    families: TemplateFamilies,
    /// Server and view by key of the server block.
    keys: Vec<[String; 2]>,
}

/// One directive.
struct Template {
    qclass: u16,
    qtype: u16,
    zones: Zones,
    /// The zones as metrics show them.
    labels: Vec<String>,
    patterns: Vec<Regex>,
    variables: Vec<(String, Expression)>,
    /// The variables that are the same for all queries.
    constants: Constants,
    conditions: Vec<Expression>,
    records: Vec<RecordTemplate>,
    rcode: u16,
    /// Code and text of the extended error.
    error: Option<(u16, String)>,
    fallthrough: Option<Zones>,
}

/// Variables with a value that does not depend on the query.
#[derive(Default)]
struct Constants(Vec<(String, ExprValue)>);

impl Scope for Constants {
    fn variable(&self, name: &str) -> Option<ExprValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// The text of a record, and where it goes.
struct RecordTemplate {
    section: Section,
    text: TextTemplate,
}

struct TemplateFamilies {
    matches: Family<Counter, 5>,
    template_failures: Family<Counter, 7>,
    record_failures: Family<Counter, 7>,
}

impl TemplateFamilies {
    fn new(metrics: &Registry) -> Self {
        let failures = ["server", "zone", "view", "class", "type", "section", "template"];
        Self {
            matches: metrics.counters(
                "coredns_template_matches_total",
                "Counter of template regex matches.",
                ["server", "zone", "view", "class", "type"],
            ),
            template_failures: metrics.counters(
                "coredns_template_template_failures_total",
                "Counter of go template failures.",
                failures,
            ),
            record_failures: metrics.counters(
                "coredns_template_rr_failures_total",
                "Counter of mis-templated RRs.",
                failures,
            ),
        }
    }
}

thread_local! {
    /// The queried name as text, in a buffer that is used for all queries.
    static NAME_TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What becomes of a query at a template.
enum Verdict<'t> {
    /// It answers.
    Matches(TemplateData<'t>),
    /// The next template is looked at.
    Next,
    /// No further template is looked at.
    Failed(QueryFailure),
}

impl Plugin for Templates {
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        match self.find(request) {
            Ok(None) => Flow::Next,
            Ok(Some((template, data))) => {
                self.count_match(request, &data);
                match self.records(template, &data, request) {
                    // The target is resolved by the server.
                    Ok(records) if needs_target(&records, request) => Flow::Wait,
                    Ok(records) => {
                        template.answer(&records, &mut answer.reply);
                        template.flow()
                    }
                    Err(failure) => Flow::Fail(failure),
                }
            }
            Err(failure) => Flow::Fail(failure),
        }
    }

    /// Answers with a CNAME and what its target has.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let (template, records) = match self.find(request) {
                Ok(None) => return Flow::Next,
                Ok(Some((template, data))) => match self.records(template, &data, request) {
                    Ok(records) => (template, records),
                    Err(failure) => return Flow::Fail(failure),
                },
                Err(failure) => return Flow::Fail(failure),
            };
            template.answer(&records, &mut answer.reply);
            for (section, record) in records {
                let target = dns_wire::Name::from_wire(&record.rdata);
                let Some(target) =
                    target.filter(|_| section == Section::Answer && record.rtype == rtype::CNAME)
                else {
                    continue;
                };
                let mut found = Answer::default();
                let resolved = runner.resolve(request, &target, request.query.qtype, &mut found).await;
                if let Some(query) = resolved {
                    answer.reply.append(&found.reply, &query);
                    answer.reply.truncated |= found.reply.truncated;
                }
            }
            template.flow()
        })
    }

    /// A template of any class answers queries of other classes only where another plugin accepts them, as in CoreDNS.
    fn any_class(&self) -> bool {
        self.templates.iter().any(|template| !matches!(template.qclass, class::IN | class::ANY))
    }
}

impl Templates {
    /// The first template that answers, with the data of its texts.
    fn find(&self, request: &Request) -> Result<Option<(&Template, TemplateData<'_>)>, QueryFailure> {
        for template in &self.templates {
            match template.verdict(request) {
                Verdict::Matches(data) => return Ok(Some((template, data))),
                Verdict::Next => {}
                Verdict::Failed(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    fn records(
        &self,
        template: &Template,
        data: &TemplateData<'_>,
        request: &Request,
    ) -> Result<Vec<(Section, TextRecord)>, QueryFailure> {
        let mut records = Vec::new();
        for RecordTemplate { section, text } in &template.records {
            let count = |family: &Family<Counter, 7>| {
                let [server, view] = self.key(request);
                let section = section_name(*section);
                let (class, qtype) = (data.class.label(), data.qtype.label());
                family.with([server, data.zone, view, class, qtype, section, text.source()]).inc();
            };
            let failed = |why: String| QueryFailure::new(rcode::SERVFAIL, format!("plugin/template: {why}"));
            let made = text.execute(data, request).map_err(|why| {
                count(&self.families.template_failures);
                failed(format!("{}: {why}", text.source()))
            })?;
            let record = presentation::record(&made).map_err(|error| {
                count(&self.families.record_failures);
                failed(format!("{made:?} is no record: {}", error.what))
            })?;
            records.extend(record.map(|record| (*section, record)));
        }
        Ok(records)
    }

    fn count_match(&self, request: &Request, data: &TemplateData<'_>) {
        let [server, view] = self.key(request);
        let kind = [data.class.label(), data.qtype.label()];
        self.families.matches.with([server, data.zone, view, kind[0], kind[1]]).inc();
    }

    fn key(&self, request: &Request) -> &[String; 2] {
        &self.keys[request.key.min(self.keys.len() - 1)]
    }
}

impl Template {
    fn verdict(&self, request: &Request) -> Verdict<'_> {
        let query = &request.query;
        let fits = |own, asked, any| own == any || asked == any || own == asked;
        if !fits(self.qclass, query.qclass, class::ANY) || !fits(self.qtype, query.qtype, rtype::ANY) {
            return Verdict::Next;
        }
        let Some(zone) = self.zones.find(query) else { return Verdict::Next };
        NAME_TEXT.with_borrow_mut(|text| {
            text.clear();
            // Writing into a String cannot fail.
            let _ = write!(text, "{}", query.to_name().lower());
            let Some(pattern) = self.patterns.iter().find(|pattern| pattern.is_match(text)) else {
                return self.mismatch(request);
            };
            let own_if_any = |asked, any, own| if asked == any { own } else { asked };
            let kind = (
                Class(own_if_any(query.qclass, class::ANY, self.qclass)),
                Type(own_if_any(query.qtype, rtype::ANY, self.qtype)),
            );
            let mut data = TemplateData::new(&self.labels[zone], kind, text, pattern, request);
            match self.evaluate(&mut data, request) {
                Ok(true) => Verdict::Matches(data),
                Ok(false) => self.mismatch(request),
                Err(why) => {
                    let why = format!("plugin/template: {why}");
                    Verdict::Failed(QueryFailure::new(rcode::SERVFAIL, why))
                }
            }
        })
    }

    /// Sets the variables. Returns whether all conditions hold.
    fn evaluate(&self, data: &mut TemplateData<'_>, request: &Request) -> Result<bool, String> {
        for (name, expression) in &self.variables {
            let value = expression.evaluate(request, data).map_err(|why| format!("var {name}: {why}"))?;
            data.variables.push((name.clone(), value));
        }
        for condition in &self.conditions {
            let value = condition.evaluate(request, data).map_err(|why| format!("expr: {why}"))?;
            if value != ExprValue::Bool(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn mismatch(&self, request: &Request) -> Verdict<'_> {
        if self.fallthrough.as_ref().is_some_and(|zones| zones.contain(&request.query)) {
            return Verdict::Next;
        }
        Verdict::Failed(QueryFailure::silent(rcode::SERVFAIL))
    }

    fn answer(&self, records: &[(Section, TextRecord)], reply: &mut Reply) {
        reply.authoritative = true;
        reply.rcode = self.rcode;
        for (section, TextRecord { owner, rtype, class, ttl, rdata }) in records {
            reply.push_class(*section, Owner::Name(owner.wire()), (*rtype, *class), *ttl, rdata);
        }
        if let Some((code, text)) = &self.error {
            reply.push_option(EXTENDED_ERROR, &[&code.to_be_bytes(), text.as_bytes()].concat());
        }
    }

    fn flow(&self) -> Flow {
        match self.rcode {
            rcode::SERVFAIL => Flow::Fail(QueryFailure::silent(rcode::SERVFAIL)),
            _ => Flow::Done,
        }
    }
}

/// Whether an answer is a CNAME whose target the client asks for as well.
fn needs_target(records: &[(Section, TextRecord)], request: &Request) -> bool {
    matches!(request.query.qtype, rtype::A | rtype::AAAA)
        && records.iter().any(|(section, record)| *section == Section::Answer && record.rtype == rtype::CNAME)
}

fn section_name(section: Section) -> &'static str {
    match section {
        Section::Answer => "answer",
        Section::Authority => "authority",
        Section::Additional => "additional",
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut templates, mut errors) = (Vec::new(), SetupErrors::new());
    for directive in &setup.directives {
        match options::read(directive, setup.block) {
            Ok(template) => templates.push(template),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let families = TemplateFamilies::new(&setup.context.metrics);
    let keys = setup.served_keys().into_iter().map(|key| [key.server, key.view]).collect();
    Ok(vec![Arc::new(Templates { templates, families, keys })])
}
