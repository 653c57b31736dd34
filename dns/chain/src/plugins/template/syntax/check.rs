//! Checks the names in a template when it is read. Go finds an unknown field only when a query is answered, so that CoreDNS accepts
//! such a template, and answers with SERVFAIL.

use super::{Command, Node, Operand, Pipeline};

/// The type of the value of `.`, if it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    /// The data of the query.
    Data,
    /// A value within `with` or `range`.
    Other,
}

/// Fields of the data, and whether they have fields of their own.
const FIELDS: [(&str, Option<&[&str]>); 11] = [
    ("Name", Some(&[])),
    ("Zone", Some(&[])),
    ("Class", Some(&[])),
    ("Type", Some(&[])),
    ("Remote", Some(&[])),
    ("Match", Some(&[])),
    ("Meta", Some(&[])),
    // Names of groups and variables are not checked: a missing one has no value, as in Go.
    ("Group", None),
    ("Var", None),
    ("Question", Some(&["Name", "Qtype", "Qclass"])),
    (
        "Message",
        Some(&["Id", "Opcode", "RecursionDesired", "CheckingDisabled", "AuthenticatedData", "Question"]),
    ),
];

/// Checks that all variables of a template are defined. Returns the first field or call that is not possible.
pub(super) fn names(body: &[Node]) -> Result<Option<String>, String> {
    let mut names = Names { variables: Vec::new(), impossible: None };
    names.body(body, Dot::Data)?;
    Ok(names.impossible)
}

struct Names<'n> {
    /// The variables around the current place.
    variables: Vec<&'n str>,
    impossible: Option<String>,
}

impl<'n> Names<'n> {
    fn body(&mut self, nodes: &'n [Node], dot: Dot) -> Result<(), String> {
        let scope = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Action { variable, pipeline } => {
                    self.pipeline(pipeline, dot)?;
                    self.variables.extend(variable.as_deref());
                }
                Node::If { condition, yes, no } => {
                    self.pipeline(condition, dot)?;
                    self.body(yes, dot)?;
                    self.body(no, dot)?;
                }
                Node::With { value, yes, no } => {
                    self.pipeline(value, dot)?;
                    self.body(yes, Dot::Other)?;
                    self.body(no, dot)?;
                }
                Node::Range { names, list, each, none } => {
                    self.pipeline(list, dot)?;
                    let outer = self.variables.len();
                    self.variables.extend(names.iter().map(String::as_str));
                    self.body(each, Dot::Other)?;
                    self.variables.truncate(outer);
                    self.body(none, dot)?;
                }
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn pipeline(&mut self, Pipeline(commands): &Pipeline, dot: Dot) -> Result<(), String> {
        for (at, Command(operands)) in commands.iter().enumerate() {
            for operand in operands {
                match operand {
                    Operand::Literal(_) | Operand::Function(_) => {}
                    Operand::Field(path) => self.note(fields(path, dot)),
                    Operand::Variable(name, path) if name.is_empty() => self.note(fields(path, Dot::Data)),
                    Operand::Variable(name, _) if self.variables.contains(&name.as_str()) => {}
                    Operand::Variable(name, _) => return Err(format!("undefined variable ${name}")),
                    Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
                }
            }
            let takes_arguments = match operands.first() {
                Some(Operand::Function(_)) => true,
                Some(Operand::Field(path)) => path.first().is_some_and(|name| name == "Meta"),
                _ => false,
            };
            if !takes_arguments && (operands.len() > 1 || at > 0) {
                self.note(Err("only functions and .Meta take arguments".to_owned()));
            }
        }
        Ok(())
    }

    fn note(&mut self, found: Result<(), String>) {
        if let Err(what) = found {
            self.impossible.get_or_insert(what);
        }
    }
}

/// Checks a path of fields.
fn fields(path: &[String], dot: Dot) -> Result<(), String> {
    let (Dot::Data, Some((first, rest))) = (dot, path.split_first()) else { return Ok(()) };
    let known = FIELDS.iter().find(|(name, _)| name == first);
    let (_, below) = known.ok_or_else(|| format!("the data has no field .{first}"))?;
    let Some((field, more)) = rest.split_first() else { return Ok(()) };
    match below {
        Some(below) if !below.contains(&field.as_str()) => Err(format!(".{first} has no field .{field}")),
        // The question of a message has the fields of `.Question`.
        Some(_) if field == "Question" => fields(rest, dot),
        _ if more.is_empty() => Ok(()),
        _ => Err(format!(".{field} has no field .{}", more[0])),
    }
}
