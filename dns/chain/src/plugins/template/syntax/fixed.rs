//! Texts that are the same for all queries but for the queried name in front of them.

use super::{Command, Node, Operand, Pipeline, TextTemplate};

/// A text that a template makes for all queries of a zone in class IN.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plugins::template) struct FixedText {
    /// Whether the text begins with the queried name, which is `.` in `text`.
    pub own_name: bool,
    pub text: String,
}

impl TextTemplate {
    /// The text for the queries of a zone, and of a type if there is only one; `None` if it depends on more of the query.
    pub(in crate::plugins::template) fn fixed(&self, zone: &str, qtype: Option<&str>) -> Option<FixedText> {
        let (mut text, mut own_name) = (String::new(), false);
        for (at, node) in self.body.iter().enumerate() {
            let field = match node {
                Node::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                Node::Action { variable: None, pipeline: Pipeline(commands) } => match commands.as_slice() {
                    [Command(operands)] => match operands.as_slice() {
                        [Operand::Field(path)] => path.first().filter(|_| path.len() == 1)?.as_str(),
                        _ => return None,
                    },
                    _ => return None,
                },
                _ => return None,
            };
            match field {
                "Name" if at == 0 => {
                    own_name = true;
                    text.push('.');
                }
                "Zone" => text.push_str(zone),
                "Class" => text.push_str("IN"),
                "Type" => text.push_str(qtype?),
                _ => return None,
            }
        }
        // The name is a word of its own.
        let is_word = !own_name || text[1..].starts_with([' ', '\t']);
        is_word.then_some(FixedText { own_name, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_fixed_if_only_the_name_in_front_depends_on_the_query() {
        let fixed = |own_name, text: &str| Some(FixedText { own_name, text: text.to_owned() });
        for (text, wanted) in [
            ("{{ .Name }} 60 IN A 10.0.0.1", fixed(true, ". 60 IN A 10.0.0.1")),
            ("{{ .Zone }} 60 {{ .Class }} {{ .Type }} 10.0.0.1", fixed(false, "a. 60 IN A 10.0.0.1")),
            ("ns.a. 60 A 10.0.0.1", fixed(false, "ns.a. 60 A 10.0.0.1")),
            ("x.{{ .Name }} 60 IN A 10.0.0.1", None),
            ("{{ .Name }}x. 60 IN A 10.0.0.1", None),
            ("{{ .Name }} 60 IN CNAME {{ .Name }}", None),
            ("{{ .Name }} 60 IN A {{ .Remote }}", None),
            ("{{ .Group.a }} 60 IN A 10.0.0.1", None),
            ("{{ if true }}a.{{ end }} 60 IN A 10.0.0.1", None),
        ] {
            let template = TextTemplate::parse(text).unwrap();
            assert_eq!(template.fixed("a.", Some("A")), wanted, "{text}");
        }
        assert_eq!(TextTemplate::parse("{{ .Type }}").unwrap().fixed("a.", None), None);
    }
}
