//! Executes a template.

use dns_wire::Query;

use super::{Command, Node, Operand, Pipeline};
use crate::expression::ExprValue;
use crate::plugins::template::data::TemplateData;
use crate::request::Request;

/// The longest text that is made: more than a message holds.
const MAX_TEXT: usize = 1 << 17;

/// A value: one of expressions, or a part of the data.
#[derive(Clone)]
enum Item<'d> {
    Value(ExprValue),
    Map(&'d [(String, ExprValue)]),
    Groups(&'d [(String, String)]),
    Data,
    Question,
    Message,
}

struct Execution<'d> {
    data: &'d TemplateData<'d>,
    request: &'d Request,
    variables: Vec<(String, Item<'d>)>,
    out: String,
}

/// The text for a query.
pub(super) fn text(body: &[Node], data: &TemplateData<'_>, request: &Request) -> Result<String, String> {
    let mut execution = Execution { data, request, variables: Vec::new(), out: String::new() };
    execution.body(body, &Item::Data)?;
    Ok(execution.out)
}

impl<'d> Execution<'d> {
    fn body(&mut self, nodes: &[Node], dot: &Item<'d>) -> Result<(), String> {
        let scope = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action { variable, pipeline } => {
                    let value = self.pipeline(pipeline, dot)?;
                    match variable {
                        Some(name) => self.variables.push((name.clone(), value)),
                        None => self.out.push_str(&value.shown()),
                    }
                }
                Node::If { condition, yes, no } => {
                    let chosen = if self.pipeline(condition, dot)?.is_true() { yes } else { no };
                    self.body(chosen, dot)?;
                }
                Node::With { value, yes, no } => {
                    let value = self.pipeline(value, dot)?;
                    match value.is_true() {
                        true => self.body(yes, &value)?,
                        false => self.body(no, dot)?,
                    }
                }
                Node::Range { names, list, each, none } => self.range(names, list, (each, none), dot)?,
            }
            if self.out.len() > MAX_TEXT {
                return Err("the text is too long".to_owned());
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn range(
        &mut self,
        names: &[String],
        list: &Pipeline,
        (each, none): (&[Node], &[Node]),
        dot: &Item<'d>,
    ) -> Result<(), String> {
        let values: Vec<(ExprValue, Item<'d>)> = match self.pipeline(list, dot)? {
            Item::Value(ExprValue::List(values)) => {
                let indexed = values.into_iter().enumerate();
                indexed.map(|(at, value)| (ExprValue::Int(at as i64), Item::Value(value))).collect()
            }
            Item::Groups(groups) => {
                let text = |text: &String| ExprValue::Text(text.clone());
                groups.iter().map(|(name, value)| (text(name), Item::Value(text(value)))).collect()
            }
            Item::Map(map) => {
                let entry = |(name, value): &(String, ExprValue)| {
                    (ExprValue::Text(name.clone()), Item::Value(value.clone()))
                };
                map.iter().map(entry).collect()
            }
            other => return Err(format!("range over {}", other.shown())),
        };
        if values.is_empty() {
            return self.body(none, dot);
        }
        for (key, value) in values {
            let scope = self.variables.len();
            match names {
                [name] => self.variables.push((name.clone(), value.clone())),
                [index, name] => {
                    self.variables.push((index.clone(), Item::Value(key)));
                    self.variables.push((name.clone(), value.clone()));
                }
                _ => {}
            }
            self.body(each, &value)?;
            self.variables.truncate(scope);
        }
        Ok(())
    }

    fn pipeline(&self, Pipeline(commands): &Pipeline, dot: &Item<'d>) -> Result<Item<'d>, String> {
        let mut last = None;
        for command in commands {
            last = Some(self.command(command, last, dot)?);
        }
        last.ok_or_else(|| "an empty pipeline".to_owned())
    }

    fn command(
        &self,
        Command(operands): &Command,
        last: Option<Item<'d>>,
        dot: &Item<'d>,
    ) -> Result<Item<'d>, String> {
        let Some((first, rest)) = operands.split_first() else { return Err("an empty command".to_owned()) };
        let mut arguments =
            rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(last);
        match first {
            Operand::Function(name) => call(name, &arguments),
            Operand::Field(path) if path.first().is_some_and(|name| name == "Meta") => {
                self.metadata(&arguments)
            }
            _ if arguments.is_empty() => self.operand(first, dot),
            _ => Err("only functions and .Meta take arguments".to_owned()),
        }
    }

    fn metadata(&self, arguments: &[Item<'d>]) -> Result<Item<'d>, String> {
        match arguments {
            [Item::Value(ExprValue::Text(label))] => {
                Ok(Item::Value(ExprValue::Text(self.request.metadata(label).unwrap_or_default())))
            }
            _ => Err(".Meta takes a label".to_owned()),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Item<'d>) -> Result<Item<'d>, String> {
        match operand {
            Operand::Literal(value) => Ok(Item::Value(value.clone())),
            Operand::Field(path) => self.fields(dot.clone(), path),
            Operand::Variable(name, path) if name.is_empty() => self.fields(Item::Data, path),
            Operand::Variable(name, path) => {
                let known = self.variables.iter().rfind(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| format!("undefined variable ${name}"))?;
                self.fields(value.clone(), path)
            }
            Operand::Function(name) => call(name, &[]),
            Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot),
        }
    }

    fn fields(&self, mut item: Item<'d>, path: &[String]) -> Result<Item<'d>, String> {
        for name in path {
            item = self.field(&item, name)?;
        }
        Ok(item)
    }

    fn field(&self, item: &Item<'d>, name: &str) -> Result<Item<'d>, String> {
        let (data, query): (_, &Query) = (self.data, &self.request.query);
        let text = |text: &str| ExprValue::Text(text.to_owned());
        let value = match (item, name) {
            (Item::Data, "Name") => text(&data.name),
            (Item::Data, "Zone") => text(data.zone),
            (Item::Data, "Class") => text(&data.class.to_string()),
            (Item::Data, "Type") => text(&data.qtype.to_string()),
            (Item::Data, "Remote") => text(&data.remote),
            (Item::Data, "Match") => ExprValue::List(data.matches.iter().map(|group| text(group)).collect()),
            (Item::Data, "Group") => return Ok(Item::Groups(&data.groups)),
            (Item::Data, "Var") => return Ok(Item::Map(&data.variables)),
            (Item::Data, "Question") => return Ok(Item::Question),
            (Item::Data, "Message") => return Ok(Item::Message),
            (Item::Groups(_), name) => data.group(name).map_or(ExprValue::Nil, text),
            (Item::Map(map), name) => map
                .iter()
                .rfind(|(known, _)| known == name)
                .map_or(ExprValue::Nil, |(_, value)| value.clone()),
            (Item::Question, "Name") => text(&query.to_name().to_string()),
            (Item::Question, "Qtype") => ExprValue::Int(query.qtype.into()),
            (Item::Question, "Qclass") => ExprValue::Int(query.qclass.into()),
            (Item::Message, "Id") => ExprValue::Int(query.id.into()),
            (Item::Message, "Opcode") => ExprValue::Int(query.opcode().into()),
            (Item::Message, "RecursionDesired") => ExprValue::Bool(query.recursion_desired()),
            (Item::Message, "CheckingDisabled") => ExprValue::Bool(query.checking_disabled()),
            (Item::Message, "AuthenticatedData") => ExprValue::Bool(query.authentic_data()),
            (Item::Message, "Question") => return Ok(Item::Question),
            (other, name) => return Err(format!("{} has no field .{name}", other.shown())),
        };
        Ok(Item::Value(value))
    }
}

impl Item<'_> {
    /// Whether Go's `if` takes it for true: neither zero nor empty.
    fn is_true(&self) -> bool {
        match self {
            Self::Value(ExprValue::Nil) => false,
            Self::Value(ExprValue::Bool(value)) => *value,
            Self::Value(ExprValue::Int(value)) => *value != 0,
            Self::Value(ExprValue::Float(value)) => *value != 0.0,
            Self::Value(ExprValue::Text(text)) => !text.is_empty(),
            Self::Value(ExprValue::List(values)) => !values.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Groups(groups) => !groups.is_empty(),
            Self::Data | Self::Question | Self::Message => true,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Value(ExprValue::Nil) => "<no value>".to_owned(),
            Self::Value(value) => value.to_string(),
            Self::Map(map) => {
                let entries: Vec<String> =
                    map.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("map[{}]", entries.join(" "))
            }
            Self::Groups(groups) => {
                let entries: Vec<String> =
                    groups.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("map[{}]", entries.join(" "))
            }
            Self::Data => "the data".to_owned(),
            Self::Question => "the question".to_owned(),
            Self::Message => "the message".to_owned(),
        }
    }

    fn value(&self) -> Result<&ExprValue, String> {
        match self {
            Self::Value(value) => Ok(value),
            other => Err(format!("{} is not a value", other.shown())),
        }
    }
}

fn call<'d>(name: &str, arguments: &[Item<'d>]) -> Result<Item<'d>, String> {
    let wrong = || format!("wrong arguments for {name}");
    let truth = |value: bool| Ok(Item::Value(ExprValue::Bool(value)));
    match (name, arguments) {
        ("and", [first, rest @ ..]) => {
            let last =
                rest.iter().try_fold(first, |last, next| if last.is_true() { Ok(next) } else { Err(last) });
            Ok(last.unwrap_or_else(|found| found).clone())
        }
        ("or", [first, rest @ ..]) => {
            let last =
                rest.iter().try_fold(first, |last, next| if last.is_true() { Err(last) } else { Ok(next) });
            Ok(last.unwrap_or_else(|found| found).clone())
        }
        ("not", [value]) => truth(!value.is_true()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            let first = first.value()?;
            for other in rest {
                if equal(first, other.value()?)? {
                    return truth(true);
                }
            }
            truth(false)
        }
        ("ne", [left, right]) => truth(!equal(left.value()?, right.value()?)?),
        ("lt", [left, right]) => truth(compare(left, right)?.is_lt()),
        ("le", [left, right]) => truth(compare(left, right)?.is_le()),
        ("gt", [left, right]) => truth(compare(left, right)?.is_gt()),
        ("ge", [left, right]) => truth(compare(left, right)?.is_ge()),
        ("index", [item, key]) => index(item, key.value()?).map(Item::Value),
        ("len", [item]) => {
            let length = match item {
                Item::Value(ExprValue::Text(text)) => text.len(),
                Item::Value(ExprValue::List(values)) => values.len(),
                Item::Map(map) => map.len(),
                Item::Groups(groups) => groups.len(),
                _ => return Err(wrong()),
            };
            Ok(Item::Value(ExprValue::Int(length as i64)))
        }
        ("print" | "println", items) => {
            // Go puts blanks between values that are no texts, and println between all.
            let mut text = String::new();
            for (at, item) in items.iter().enumerate() {
                let is_text = |item: &Item<'_>| matches!(item, Item::Value(ExprValue::Text(_)));
                if at > 0 && (name == "println" || (!is_text(item) && !is_text(&items[at - 1]))) {
                    text.push(' ');
                }
                text.push_str(&item.shown());
            }
            if name == "println" {
                text.push('\n');
            }
            Ok(Item::Value(ExprValue::Text(text)))
        }
        ("printf", [Item::Value(ExprValue::Text(format)), values @ ..]) => {
            formatted(format, values).map(|text| Item::Value(ExprValue::Text(text)))
        }
        (
            "parseInt",
            [
                Item::Value(ExprValue::Text(digits)),
                Item::Value(ExprValue::Int(base)),
                Item::Value(ExprValue::Int(bits)),
            ],
        ) => {
            let base = u32::try_from(*base).ok().filter(|base| (2..=36).contains(base)).ok_or_else(wrong)?;
            let most = match bits {
                1..=63 => (1_u64 << bits) - 1,
                0 | 64 => u64::MAX,
                _ => return Err(wrong()),
            };
            let value = u64::from_str_radix(digits, base).ok().filter(|value| *value <= most);
            let value = value.and_then(|value| i64::try_from(value).ok());
            value
                .map(|value| Item::Value(ExprValue::Int(value)))
                .ok_or_else(|| format!("parseInt: {digits:?} is not a number in range"))
        }
        _ => Err(wrong()),
    }
}

fn index(item: &Item<'_>, key: &ExprValue) -> Result<ExprValue, String> {
    match (item, key) {
        (Item::Value(ExprValue::List(values)), ExprValue::Int(at)) => {
            let value = usize::try_from(*at).ok().and_then(|at| values.get(at));
            value.cloned().ok_or_else(|| format!("index out of range: {at}"))
        }
        (Item::Groups(groups), ExprValue::Text(name)) => {
            let found = groups.iter().rfind(|(known, _)| known == name);
            Ok(ExprValue::Text(found.map(|(_, value)| value.clone()).unwrap_or_default()))
        }
        (Item::Map(map), ExprValue::Text(name)) => Ok(map
            .iter()
            .rfind(|(known, _)| known == name)
            .map_or(ExprValue::Nil, |(_, value)| value.clone())),
        _ => Err("wrong arguments for index".to_owned()),
    }
}

fn equal(left: &ExprValue, right: &ExprValue) -> Result<bool, String> {
    match (left, right) {
        (ExprValue::Int(left), ExprValue::Float(right)) | (ExprValue::Float(right), ExprValue::Int(left)) => {
            Ok(*left as f64 == *right)
        }
        _ if std::mem::discriminant(left) == std::mem::discriminant(right) => Ok(left == right),
        (ExprValue::Nil, _) | (_, ExprValue::Nil) => Ok(false),
        _ => Err(format!("{left} and {right} have different types")),
    }
}

fn compare(left: &Item<'_>, right: &Item<'_>) -> Result<std::cmp::Ordering, String> {
    let (left, right) = (left.value()?, right.value()?);
    let ordering = match (left, right) {
        (ExprValue::Text(left), ExprValue::Text(right)) => Some(left.cmp(right)),
        (ExprValue::Int(left), ExprValue::Int(right)) => Some(left.cmp(right)),
        (ExprValue::Float(left), ExprValue::Float(right)) => left.partial_cmp(right),
        _ => None,
    };
    ordering.ok_or_else(|| format!("{left} and {right} cannot be compared"))
}

/// `printf` with the verbs `%s %v %d %x %X %o %b %q %%`, and a width that may begin with 0.
fn formatted(format: &str, values: &[Item<'_>]) -> Result<String, String> {
    let (mut out, mut values, mut rest) = (String::new(), values.iter(), format);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(after.len());
        let width: usize = after[..digits].parse().unwrap_or(0).min(255);
        let is_zero_padded = after.starts_with('0');
        let verb = after[digits..].chars().next().ok_or("printf: a verb is missing")?;
        rest = &after[digits + verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let item = values.next().ok_or_else(|| format!("printf: no value for %{verb}"))?;
        let text = match (verb, item) {
            ('s' | 'v', item) => item.shown(),
            ('q', item) => format!("{:?}", item.shown()),
            ('d', Item::Value(ExprValue::Int(value))) => value.to_string(),
            ('x', Item::Value(ExprValue::Int(value))) => format!("{value:x}"),
            ('X', Item::Value(ExprValue::Int(value))) => format!("{value:X}"),
            ('o', Item::Value(ExprValue::Int(value))) => format!("{value:o}"),
            ('b', Item::Value(ExprValue::Int(value))) => format!("{value:b}"),
            ('x', Item::Value(ExprValue::Text(text))) => hex::encode(text),
            _ => return Err(format!("printf: %{verb} of {}", item.shown())),
        };
        let padding = width.saturating_sub(text.chars().count());
        out.extend(std::iter::repeat_n(if is_zero_padded { '0' } else { ' ' }, padding));
        out.push_str(&text);
    }
    out.push_str(rest);
    if values.next().is_some() {
        return Err("printf: more values than verbs".to_owned());
    }
    Ok(out)
}
