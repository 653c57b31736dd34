//! `if`, `set`, `rewrite`, `return`, `break`.

use http::StatusCode;

use crate::snippet::Context::{Location, LocationIf, Server, ServerIf};
use crate::snippet::directive::{Call, Fate, SnippetDirective, Target};
use crate::snippet::known_names::KnownNames;
use crate::snippet::lexer::SnippetWord;
use crate::snippet::rewrite_step::{
    Condition, ReturnStep, RewriteCommand, RewriteFlag, RewriteStep, SnippetPattern,
};
use crate::snippet::text::{SnippetText, variable_name};

const ANYWHERE: &[crate::snippet::Context] = &[Server, Location, ServerIf, LocationIf];

const ONE: SnippetDirective = SnippetDirective {
    name: "",
    arguments: "",
    contexts: ANYWHERE,
    elsewhere: None,
    protects: true,
    fate: Fate::Refused,
    doc: "",
};

pub(in crate::snippet) const REWRITING: &[SnippetDirective] = &[
    SnippetDirective {
        name: "if",
        arguments: "(`$variable`), or `=`, `!=`, `~`, `~*`, `!~`, `!~*` with a second operand; a block",
        contexts: &[Server, Location],
        protects: false,
        fate: Fate::Condition,
        doc: "as in nginx, of several blocks of a location whose condition is true the last one counts for headers; tests of files (`-f` and \
              the like) are refused",
        ..ONE
    },
    SnippetDirective {
        name: "set",
        arguments: "`$variable` value",
        fate: Fate::Honoured(set),
        doc: "the variable is known in all snippets of the request that come later; of the built-in variables only `$args` can be set",
        ..ONE
    },
    SnippetDirective {
        name: "rewrite",
        arguments: "regex replacement [`last` | `break` | `redirect` | `permanent`]",
        fate: Fate::Honoured(rewrite),
        doc: "`last` and no flag search the rule of the new path, ten times at most; an error in it closes the routes",
        ..ONE
    },
    SnippetDirective {
        name: "return",
        arguments: "status [text | URL], or a URL",
        fate: Fate::Honoured(returns),
        doc: "statuses from 200 to 599; 444 closes a connection of HTTP/1 without a response",
        ..ONE
    },
    SnippetDirective {
        name: "break",
        arguments: "",
        fate: Fate::Honoured(breaks),
        doc: "no further directive of this group runs, nor do the annotations `permanent-redirect`, `temporal-redirect` and `rewrite-target`",
        ..ONE
    },
];

fn set(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let [name, value] = call.words()[..] else { return Err("should have a variable and a value".into()) };
    let value = SnippetText::parse(value, call.known)?;
    if name == "$args" {
        target.steps.push(RewriteCommand::SetArgs(value));
        return Ok(());
    }
    let name = variable_name(name, call.known)?;
    target.steps.push(RewriteCommand::Set { name, value });
    Ok(())
}

fn rewrite(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    const WANTED: &str =
        "should have a regular expression, a replacement, and last, break, redirect, permanent or nothing";
    let (pattern, replacement, flag) = match call.words()[..] {
        [pattern, replacement] => (pattern, replacement, RewriteFlag::None),
        [pattern, replacement, flag] => {
            let flag = match flag {
                "last" => RewriteFlag::Last,
                "break" => RewriteFlag::Break,
                "redirect" => RewriteFlag::Redirect(StatusCode::FOUND),
                "permanent" => RewriteFlag::Redirect(StatusCode::MOVED_PERMANENTLY),
                _ => return Err(WANTED.into()),
            };
            (pattern, replacement, flag)
        }
        _ => return Err(WANTED.into()),
    };
    let is_url = ["http://", "https://", "$scheme"].iter().any(|start| replacement.starts_with(start));
    let flag = match flag {
        RewriteFlag::Redirect(status) => RewriteFlag::Redirect(status),
        _ if is_url => RewriteFlag::Redirect(StatusCode::FOUND),
        flag => flag,
    };
    let pattern = SnippetPattern::parse(pattern, false, call.known)?;
    let (path, query) = match replacement.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (replacement, None),
    };
    let kept = query.map(|query| query.strip_suffix('?').unwrap_or(query));
    // `/x?` has an empty query, which drops that of the request.
    let drops_query = query.is_some_and(|query| query.is_empty() || query.ends_with('?'));
    let path = SnippetText::parse(path, call.known)?;
    if path.is_empty() {
        return Err("has an empty replacement".into());
    }
    let query = kept.map(|query| SnippetText::parse(query, call.known)).transpose()?;
    target.steps.push(RewriteCommand::Rewrite(RewriteStep { pattern, path, query, drops_query, flag }));
    Ok(())
}

fn returns(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    const WANTED: &str = "should have a status from 200 to 599 and a text or a URL, or a URL";
    let status = |text: &str| {
        let code = text.parse().ok().filter(|code| (200..600).contains(code))?;
        StatusCode::from_u16(code).ok()
    };
    let (status, text) = match call.words()[..] {
        [one] => match status(one) {
            Some(status) => (status, None),
            None if ["http://", "https://", "$scheme"].iter().any(|start| one.starts_with(start)) => {
                (StatusCode::FOUND, Some(one))
            }
            None => return Err(WANTED.into()),
        },
        [code, text] => (status(code).ok_or(WANTED)?, Some(text)),
        _ => return Err(WANTED.into()),
    };
    // nginx makes its own page of an error with an empty text (ngx_http_script_return_code).
    let text = text.filter(|text| !text.is_empty() || status.as_u16() < 400);
    let text = text.map(|text| SnippetText::parse(text, call.known)).transpose()?;
    let step = ReturnStep { status, text };
    let breaks_line = |text: &str| text.chars().any(char::is_control);
    if step.is_redirect() && step.text.iter().flat_map(SnippetText::literals).any(breaks_line) {
        return Err("has a URL with a control character".into());
    }
    target.steps.push(RewriteCommand::Return(step));
    Ok(())
}

fn breaks(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    if !call.arguments.is_empty() {
        return Err("should have no arguments".into());
    }
    target.steps.push(RewriteCommand::Break);
    Ok(())
}

/// The condition of `if`, whose parentheses are part of its first and last words.
pub(in crate::snippet) fn condition(
    arguments: &[SnippetWord],
    known: &KnownNames,
) -> Result<Condition, String> {
    const WANTED: &str = "should have a condition in parentheses: a variable, or a variable, one of = != ~ ~* !~ !~*, and a value";
    let mut words: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    let first = words.first_mut().ok_or(WANTED)?;
    *first = first.strip_prefix('(').ok_or(WANTED)?;
    let last = words.last_mut().ok_or(WANTED)?;
    *last = last.strip_suffix(')').ok_or(WANTED)?;
    if words.first().is_some_and(|word| word.is_empty()) {
        words.remove(0);
    }
    if words.len() > 1 && words.last().is_some_and(|word| word.is_empty()) {
        words.pop();
    }
    let (left, rest) = words.split_first().ok_or(WANTED)?;
    if left.starts_with('-') || left.starts_with("!-") {
        return Err(format!("tests a file with {left}, and there are no files"));
    }
    let left = SnippetText::parse(left, known)?;
    if !left.is_variable() {
        return Err(WANTED.into());
    }
    let matches = |left, pattern: &str, ignores_case, negated| {
        let pattern = SnippetPattern::parse(pattern, ignores_case, known)?;
        Ok(Condition::Matches { left, pattern, negated })
    };
    match *rest {
        [] => Ok(Condition::IsTrue(left)),
        [operator @ ("=" | "!="), right] => {
            let right = SnippetText::parse(right, known)?;
            Ok(Condition::Equals { left, right, negated: operator == "!=" })
        }
        ["~", pattern] => matches(left, pattern, false, false),
        ["~*", pattern] => matches(left, pattern, true, false),
        ["!~", pattern] => matches(left, pattern, false, true),
        ["!~*", pattern] => matches(left, pattern, true, true),
        _ => Err(WANTED.into()),
    }
}
