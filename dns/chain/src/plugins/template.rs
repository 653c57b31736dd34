//! `template`: answers from patterns of names and texts of records.

mod data;
mod fixed_answer;
mod metrics;
mod options;
mod syntax;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};
use futures_util::future::BoxFuture;
use regex::Regex;

use crate::codes::{Class, Type};
use crate::expression::{ExprValue, Expression, Scope};
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::presentation::{self, TextRecord};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};
use data::TemplateData;
use fixed_answer::FixedAnswer;
use metrics::{MatchCounters, RecordFailure, TemplateMetrics};
use syntax::TextTemplate;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "template",
    about: "answers from patterns of names and texts of records",
    syntax: options::SYNTAX,
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        TemplateMetrics::new(metrics, Vec::new());
    },
    setup,
};

/// The EDNS option of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

struct Templates {
    templates: Vec<Template>,
    metrics: TemplateMetrics,
}

/// One directive.
struct Template {
    qclass: u16,
    qtype: u16,
    zones: Zones,
    /// The zones as metrics show them.
    labels: Vec<String>,
    /// Empty for all names.
    patterns: Vec<Regex>,
    variables: Vec<(String, Expression)>,
    /// The variables that are the same for all queries.
    constants: Constants,
    conditions: Vec<Expression>,
    records: Vec<RecordTemplate>,
    rcode: u16,
    /// The data of the extended error's option: code and text.
    error: Option<Vec<u8>>,
    fallthrough: Option<Zones>,
    /// The answers by zone, if the queried name is all that they depend on.
    fixed: Option<Vec<FixedAnswer>>,
    counters: MatchCounters,
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

thread_local! {
    /// The queried name as text, in a buffer that is used for all queries.
    static NAME_TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What becomes of a query at a template.
enum Verdict<'t> {
    /// It answers with the texts of its records.
    Matches(TemplateData<'t>),
    /// It answers with what it has for the zone with this index.
    Fixed(usize),
    /// The next template is looked at.
    Next,
    /// No further template is looked at.
    Failed(QueryFailure),
}

/// The source of the answer of a template.
enum Found<'t> {
    Data(TemplateData<'t>),
    /// The fixed answer of the zone with this index.
    Fixed(usize),
}

impl Plugin for Templates {
    // Hot: 0 allocations where the queried name is all that an answer depends on.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (template, data) = match self.find(request) {
            Ok(Some((template, Found::Fixed(zone)))) => {
                let label = (zone, template.labels[zone].as_str());
                let qtype = template.type_of(&request.query);
                self.metrics.count_match_of(&template.counters, request, label, qtype);
                template.begin(&mut answer.reply);
                if let Some(fixed) = &template.fixed {
                    fixed[zone].push(&request.query, &mut answer.reply);
                }
                return template.flow();
            }
            Ok(Some((template, Found::Data(data)))) => (template, data),
            Ok(None) => return Flow::Next,
            Err(failure) => return Flow::Fail(failure),
        };
        self.metrics.count_match(request, data.zone, data.class, data.qtype);
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

    /// Answers with a CNAME and what its target has.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let (template, records) = match self.find(request) {
                // A fixed answer has no target to wait for.
                Ok(None | Some((_, Found::Fixed(_)))) => return Flow::Next,
                Ok(Some((template, Found::Data(data)))) => match self.records(template, &data, request) {
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
    /// The first template that answers, with what it answers by.
    fn find(&self, request: &Request) -> Result<Option<(&Template, Found<'_>)>, QueryFailure> {
        for template in &self.templates {
            match template.verdict(request) {
                Verdict::Matches(data) => return Ok(Some((template, Found::Data(data)))),
                Verdict::Fixed(zone) => return Ok(Some((template, Found::Fixed(zone)))),
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
            let count = |failure| {
                let (class, qtype) = (data.class.label(), data.qtype.label());
                let labels = [data.zone, class, qtype, section_name(*section), text.source()];
                self.metrics.count_failure(failure, request, labels);
            };
            let failed = |why: String| QueryFailure::new(rcode::SERVFAIL, format!("plugin/template: {why}"));
            let made = text.execute(data, request).map_err(|why| {
                count(RecordFailure::Template);
                failed(format!("{}: {why}", text.source()))
            })?;
            let record = presentation::record(&made).map_err(|error| {
                count(RecordFailure::Record);
                failed(format!("{made:?} is no record: {}", error.what))
            })?;
            records.extend(record.map(|record| (*section, record)));
        }
        Ok(records)
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
        let is_fixed = query.qclass == class::IN && self.fixed.is_some();
        if is_fixed && self.patterns.is_empty() {
            return Verdict::Fixed(zone);
        }
        NAME_TEXT.with_borrow_mut(|text| {
            text.clear();
            // Writing into a String cannot fail.
            let _ = write!(text, "{}", query.to_name().lower());
            let pattern = self.patterns.iter().find(|pattern| pattern.is_match(text));
            if pattern.is_none() && !self.patterns.is_empty() {
                return self.mismatch(request);
            }
            if is_fixed {
                return Verdict::Fixed(zone);
            }
            let qclass = if query.qclass == class::ANY { self.qclass } else { query.qclass };
            let kind = (Class(qclass), self.type_of(query));
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

    /// The type of an answer: that of the query, or the own one where the query asks for any.
    fn type_of(&self, query: &Query) -> Type {
        Type(if query.qtype == rtype::ANY { self.qtype } else { query.qtype })
    }

    /// Sets what does not depend on the records.
    fn begin(&self, reply: &mut Reply) {
        reply.authoritative = true;
        reply.rcode = self.rcode;
        if let Some(error) = &self.error {
            reply.push_option(EXTENDED_ERROR, error);
        }
    }

    fn answer(&self, records: &[(Section, TextRecord)], reply: &mut Reply) {
        self.begin(reply);
        for (section, TextRecord { owner, rtype, class, ttl, rdata }) in records {
            reply.push_class(*section, Owner::Name(owner.wire()), (*rtype, *class), *ttl, rdata);
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
    let keys: Vec<[String; 2]> = setup.served_keys().into_iter().map(|key| [key.server, key.view]).collect();
    for directive in &setup.directives {
        match options::read(directive, setup.block, keys.len()) {
            Ok(template) => templates.push(template),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    for (directive, template) in setup.directives.clone().into_iter().zip(&templates) {
        for record in &template.records {
            if let Some(why) = record.text.impossible() {
                let text = record.text.source();
                setup.warn(
                    directive,
                    format!("template: {text}: {why}; queries that need it are answered with SERVFAIL"),
                );
            }
        }
    }
    let metrics = TemplateMetrics::new(&setup.context.metrics, keys);
    Ok(vec![Arc::new(Templates { templates, metrics })])
}
