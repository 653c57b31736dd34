//! `view`: lets a server block answer only the queries for which expressions are true.

use std::sync::Arc;

use config::Word;

use crate::expression::{ExprValue, Expression, NoScope};
use crate::metadata::{MetadataOffer, MetadataSource};
use crate::request::Request;
use crate::routes::RouteFilter;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "view",
    about: "lets a server block answer only the queries for which expressions are true",
    syntax: &[
        "view internal {\n    expr incidr(client_ip(), '10.0.0.0/8')\n}",
        "view addresses {\n    expr type() in ['A', 'AAAA']\n    expr name() matches '^client-[0-9]+[.]'\n}",
    ],
    options: &[
        PluginOption {
            syntax: "NAME",
            default: "",
            about: "The `view` label of metrics. Several blocks may serve a zone at an address if all but the last have a view; the first whose expressions are all true answers.",
        },
        PluginOption {
            syntax: "expr EXPRESSION",
            default: "",
            about: "Operators `&& || ! == != < <= > >= in contains startsWith endsWith matches + - * / % ?:`; functions `bufsize class client_ip do id incidr metadata name opcode port proto server_ip server_port size type`, `int string len lower upper trim split`. An expression without a value, or one that is not true, is false.",
        },
    ],
    early: true,
    metrics: |_| {},
    setup,
};

struct ViewFilter {
    name: String,
    expressions: Vec<Expression>,
}

impl RouteFilter for ViewFilter {
    fn admits(&self, request: &Request) -> bool {
        let is_true = |expression: &Expression| {
            matches!(expression.evaluate(request, &NoScope), Ok(ExprValue::Bool(true)))
        };
        self.expressions.iter().all(is_true)
    }
}

impl MetadataSource for ViewFilter {
    fn value(&self, label: &str, _: &Request) -> Option<String> {
        (label == "view/name").then(|| self.name.clone())
    }
}

/// The words of a line as one expression. The Corefile has removed their quotes.
pub(super) fn expression_text(words: &[Word]) -> String {
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    words.join(" ")
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let name = directive.arg("NAME").map_err(|error| vec![error])?.text.clone();
    let mut expressions = Vec::new();
    each_line(directive, |line| match line.name.text.as_str() {
        "expr" => {
            let text = expression_text(line.args_from(1, "EXPRESSION")?);
            let parsed = Expression::parse(&text, &[], &[]);
            expressions
                .push(parsed.map_err(|why| line.error(format!("view: {text}: {why}"), "an expression"))?);
            Ok(())
        }
        _ => Err(line.unknown(&["expr"])),
    })?;
    let filter = Arc::new(ViewFilter { name: name.clone(), expressions });
    setup.offer(Arc::new(MetadataOffer(filter.clone())));
    setup.filter(&name, filter);
    Ok(Vec::new())
}
