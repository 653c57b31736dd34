//! Runs the rewrite phase of snippets for a request.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::content_type;
use super::known_names::KnownNames;
use super::level::ConfigLevel;
use super::rewrite_step::{Condition, ReturnStep, RewriteCommand, RewriteFlag, RewriteStep, SnippetPattern};
use super::state::SnippetState;
use super::text::{MAX_VALUE, RouteNames, SnippetText, TextValues, TooLong};
use crate::exchange::Exchange;
use crate::path::decode_redirect;
use crate::pattern::StepLimitExceeded;
use crate::plan::filter::{DirectResponse, FilterOutcome};
use crate::plan::redirect_origin::RedirectOrigin;

/// A compiled snippet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub(crate) steps: Vec<RewriteCommand>,
    /// What holds for every request.
    pub level: ConfigLevel,
    /// The blocks of `if`.
    pub(crate) ifs: Vec<ConfigLevel>,
    /// The variables that it sets.
    pub names: KnownNames,
}

impl Program {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.level == ConfigLevel::default()
    }

    /// Whether it has directives of the rewrite phase.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The level of the block of `if` that holds for a request, of the snippets of a location.
    pub fn block<'p>(programs: &'p [Arc<Self>], state: &SnippetState) -> Option<&'p ConfigLevel> {
        let (part, level) = state.block?;
        programs.get(part)?.ifs.get(level)
    }

    /// Its level and those of its blocks.
    pub fn all_levels(&self) -> impl Iterator<Item = &ConfigLevel> {
        [&self.level].into_iter().chain(&self.ifs)
    }
}

/// Why a request cannot be handled: 500.
enum Failure {
    TooLong,
    StepLimit,
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl From<StepLimitExceeded> for Failure {
    fn from(_: StepLimitExceeded) -> Self {
        Self::StepLimit
    }
}

/// What follows a directive.
enum Flow {
    Next,
    /// No further directive of the phase runs.
    End,
    Respond(DirectResponse),
}

/// Runs the snippets of a server or of a location in order. What the next phases need is left in the exchange.
///
/// `default_type` is the type of bodies for paths without a known extension; `origin` precedes paths in Location.
pub fn run(
    programs: &[&Program],
    exchange: &mut Exchange,
    names: &RouteNames,
    default_type: &HeaderValue,
    origin: RedirectOrigin,
) -> FilterOutcome {
    let state = exchange.values.take::<SnippetState>().unwrap_or_default();
    let mut runner = Runner { exchange, names, state, default_type, origin };
    runner.state.block = None;
    let mut outcome = FilterOutcome::Continue;
    for (part, program) in programs.iter().enumerate() {
        match runner.steps(&program.steps, part) {
            Ok(Flow::Next) => continue,
            Ok(Flow::End) => runner.exchange.rewrite_ended = true,
            Ok(Flow::Respond(response)) => outcome = FilterOutcome::respond(response),
            Err(Failure::TooLong | Failure::StepLimit) => {
                let response = DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR);
                outcome = FilterOutcome::respond(response);
            }
        }
        break;
    }
    let Runner { exchange, state, .. } = runner;
    exchange.values.set(state);
    outcome
}

struct Runner<'r> {
    exchange: &'r mut Exchange,
    names: &'r RouteNames,
    state: SnippetState,
    default_type: &'r HeaderValue,
    origin: RedirectOrigin,
}

impl Runner<'_> {
    fn values(&self) -> TextValues<'_> {
        TextValues { exchange: self.exchange, names: self.names, state: &self.state }
    }

    fn steps(&mut self, steps: &[RewriteCommand], part: usize) -> Result<Flow, Failure> {
        for step in steps {
            let flow = match step {
                RewriteCommand::Set { name, value } => {
                    let value = value.plain(&self.values())?.into_owned();
                    self.state.set(name, value);
                    Flow::Next
                }
                RewriteCommand::SetArgs(value) => {
                    let args = value.query(&self.values())?.into_owned();
                    let path = self.exchange.path().to_owned();
                    self.exchange.rewrite_uri(path, Some(args).filter(|args| !args.is_empty()));
                    Flow::Next
                }
                RewriteCommand::If { condition, level, steps } => {
                    if !self.holds(condition)? {
                        continue;
                    }
                    self.state.block = Some((part, *level));
                    self.steps(steps, part)?
                }
                RewriteCommand::Rewrite(rewrite) => self.rewrite(rewrite)?,
                RewriteCommand::Return(step) => Flow::Respond(self.response(step)?),
                RewriteCommand::Break => {
                    self.exchange.new_uri = false;
                    Flow::End
                }
            };
            if !matches!(flow, Flow::Next) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn holds(&mut self, condition: &Condition) -> Result<bool, Failure> {
        Ok(match condition {
            Condition::IsTrue(text) => {
                let value = text.plain(&self.values())?;
                !value.is_empty() && value != "0"
            }
            Condition::Equals { left, right, negated } => {
                let values = self.values();
                (left.plain(&values)? == right.plain(&values)?) != *negated
            }
            Condition::Matches { left, pattern, negated } => {
                let value = left.plain(&self.values())?.into_owned();
                self.matches(pattern, &value)? != *negated
            }
        })
    }

    /// Whether a pattern is found. Its groups are kept; without a match there are none, as in nginx.
    fn matches(&mut self, pattern: &SnippetPattern, text: &str) -> Result<bool, Failure> {
        let mut budget = self.exchange.step_budget.get();
        let captures = pattern.pattern.captures(text, &mut budget);
        self.exchange.step_budget.set(budget);
        let captures = captures?;
        self.state.groups = captures.iter().flatten().map(|group| (*group).to_owned()).collect();
        for (number, name) in &pattern.groups {
            if captures.is_some() {
                let value = self.state.group(*number).to_owned();
                self.state.set(name, value);
            }
        }
        Ok(captures.is_some())
    }

    fn rewrite(&mut self, step: &RewriteStep) -> Result<Flow, Failure> {
        let path = self.exchange.path().to_owned();
        if !self.matches(&step.pattern, &path)? {
            return Ok(Flow::Next);
        }
        let is_redirect = matches!(step.flag, RewriteFlag::Redirect(_));
        let values = self.values();
        let mut target = if is_redirect { step.path.url(&values)? } else { step.path.plain(&values)? };
        let own = match &step.query {
            Some(query) => query.url(&values)?,
            None => Cow::Borrowed(""),
        };
        let sent = self.exchange.query().unwrap_or_default();
        let sent = if step.drops_query { "" } else { sent };
        let separator = if own.is_empty() || sent.is_empty() { "" } else { "&" };
        let query = format!("{own}{separator}{sent}");
        if target.len() + query.len() > MAX_VALUE {
            return Err(Failure::TooLong);
        }
        if let RewriteFlag::Redirect(status) = step.flag {
            let mark = if query.is_empty() { "" } else { "?" };
            let location = self.absolute(&format!("{}{mark}{query}", decode_redirect(&target)));
            return Ok(Flow::Respond(DirectResponse::redirect(status, location)));
        }
        if !target.starts_with('/') {
            target.to_mut().insert(0, '/');
        }
        let target = target.into_owned();
        self.exchange.rewrite_uri(target, Some(query).filter(|query| !query.is_empty()));
        self.exchange.new_uri = step.flag != RewriteFlag::Break;
        Ok(if step.flag == RewriteFlag::None { Flow::Next } else { Flow::End })
    }

    /// A path with scheme and host before it; other texts as they are.
    fn absolute(&self, location: &str) -> String {
        self.origin.absolute(location.to_owned(), self.exchange)
    }

    fn response(&self, step: &ReturnStep) -> Result<DirectResponse, Failure> {
        let values = self.values();
        let Some(text) = &step.text else {
            let mut response = DirectResponse::status(step.status);
            // nginx has pages for redirects and errors only.
            let has_page = step.status.as_u16() >= 300;
            if !has_page && step.status != StatusCode::NO_CONTENT {
                response.body = Some((Bytes::new(), self.body_type()));
            }
            return Ok(response);
        };
        if step.is_redirect() {
            let location = self.absolute(&header_text(text, &values)?);
            return Ok(DirectResponse::redirect(step.status, location));
        }
        let body = Bytes::from(text.plain(&values)?.into_owned());
        Ok(DirectResponse { body: Some((body, self.body_type())), ..DirectResponse::status(step.status) })
    }

    fn body_type(&self) -> HeaderValue {
        let by_extension = content_type::of_path(self.exchange.path()).map(HeaderValue::from_static);
        by_extension.unwrap_or_else(|| self.default_type.clone())
    }
}

/// The text for a header, in which a value that is too long is an error.
fn header_text(text: &SnippetText, values: &TextValues<'_>) -> Result<String, TooLong> {
    text.plain(values)?;
    Ok(String::from_utf8_lossy(&text.header(values)).into_owned())
}
