//! The values that the texts of a template refer to.

use regex::Regex;

use crate::codes::{Class, Type};
use crate::expression::{EvalError, ExprValue, Scope};
use crate::request::Request;

/// The data of a query that matches a template.
pub(super) struct TemplateData<'t> {
    pub zone: &'t str,
    /// In lower case.
    pub name: String,
    pub class: Class,
    pub qtype: Type,
    pub remote: String,
    /// Names and values of the groups of the pattern; a group without a name has its number only.
    pub groups: Vec<(String, String)>,
    /// All groups by number.
    pub matches: Vec<String>,
    /// `var`, in order.
    pub variables: Vec<(String, ExprValue)>,
}

/// Functions of expressions in addition to those of the query.
pub(super) const FUNCTIONS: [&str; 1] = ["group"];

impl<'t> TemplateData<'t> {
    /// The class and the type are those of the query, or those of the template where the query asks for any.
    pub(super) fn new(
        zone: &'t str,
        (class, qtype): (Class, Type),
        name: &str,
        pattern: Option<&Regex>,
        request: &Request,
    ) -> Self {
        // Without a pattern the whole name matches.
        let mut found = (Vec::new(), Vec::new());
        let mut add = |known_as: Option<&str>, value: &str| {
            let (groups, matches) = &mut found;
            groups.push((matches.len().to_string(), value.to_owned()));
            groups.extend(known_as.map(|known_as| (known_as.to_owned(), value.to_owned())));
            matches.push(value.to_owned());
        };
        match pattern {
            None => add(None, name),
            Some(pattern) => {
                let captures = pattern.captures(name);
                let groups = captures.iter().flat_map(|captures| captures.iter());
                for (group, known_as) in groups.zip(pattern.capture_names()) {
                    add(known_as, group.map_or("", |group| group.as_str()));
                }
            }
        }
        let (groups, matches) = found;
        Self {
            zone,
            name: name.to_owned(),
            class,
            qtype,
            remote: request.client.ip().to_canonical().to_string(),
            groups,
            matches,
            variables: Vec::new(),
        }
    }

    /// The last group of a name, or of a number.
    pub(super) fn group(&self, name: &str) -> Option<&str> {
        self.groups.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Scope for TemplateData<'_> {
    fn variable(&self, name: &str) -> Option<ExprValue> {
        self.variables.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn call(&self, name: &str, arguments: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
        match (name, arguments) {
            ("group", [name @ (ExprValue::Text(_) | ExprValue::Int(_))]) => {
                let value = self.group(&name.to_string()).unwrap_or_default();
                Some(Ok(ExprValue::Text(value.to_owned())))
            }
            ("group", _) => Some(Err("group takes a name or a number".to_owned())),
            _ => None,
        }
    }
}
