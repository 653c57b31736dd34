//! What the texts of a template refer to.

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
        pattern: &Regex,
        request: &Request,
    ) -> Self {
        let (mut groups, mut matches) = (Vec::new(), Vec::new());
        if let Some(captures) = pattern.captures(name) {
            for (index, (group, known_as)) in captures.iter().zip(pattern.capture_names()).enumerate() {
                let value = group.map_or("", |group| group.as_str()).to_owned();
                groups.push((index.to_string(), value.clone()));
                groups.extend(known_as.map(|known_as| (known_as.to_owned(), value.clone())));
                matches.push(value);
            }
        }
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
