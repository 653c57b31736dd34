//! `view`: lets a server block answer only the queries for which expressions are true.

use std::sync::{Arc, OnceLock};

use config::Word;

use crate::expression::{EvalError, ExprValue, Expression, Scope};
use crate::metadata::{MetadataOffer, MetadataSource, MetadataSources};
use crate::request::Request;
use crate::routes::RouteFilter;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, Wanted, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "view",
    about: "lets a server block answer only the queries for which expressions are true",
    syntax: &[
        "view internal {\n    expr incidr(client_ip(), '10.0.0.0/8')\n}",
        "view addresses {\n    expr type() in ['A', 'AAAA']\n    expr name() matches '^client-[0-9]+[.]'\n}",
        "view tenant {\n    expr metadata('kubernetes/client-namespace') in ['a', 'b']\n    expr \"any(split(name(), '.'), # == 'internal')\"\n}",
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
            about: "Of the language expr: numbers, texts, `true`, `false`, `nil`, arrays, `let NAME = VALUE; …`; operators `&& || ! ?? == != < <= > >= in contains startsWith endsWith matches .. + - * / % ** ?: |`, `[INDEX]`, `[FROM:TO]`; functions of the query `bufsize class client_ip do id incidr metadata name opcode port proto server_ip server_port size type`; of values `abs bitand bitor bitshl bitshr bitxor ceil concat first float floor get hasPrefix hasSuffix indexOf int join last lastIndexOf len lower max mean min repeat replace reverse round split splitAfter string sum take trim trimPrefix trimSuffix uniq upper`; of arrays with a condition on `#` `all any none one filter map count find findIndex`. Anything else (maps, fields, `if`, other functions) is refused. A text with `#` needs quotes in a Corefile. An expression without a value, or one that is not true, is false.",
        },
    ],
    early: true,
    metrics: |_| {},
    setup,
};

struct ViewFilter {
    expressions: Vec<Expression>,
    /// Of the plugin `metadata`, if the block has it.
    sources: Wanted<MetadataSources>,
    found: OnceLock<Option<Arc<MetadataSources>>>,
}

impl RouteFilter for ViewFilter {
    fn admits(&self, request: &Request) -> bool {
        let scope = FilterScope { filter: self, request };
        let is_true = |expression: &Expression| {
            matches!(expression.evaluate(request, &scope), Ok(ExprValue::Bool(true)))
        };
        self.expressions.iter().all(is_true)
    }
}

/// The metadata of a query that no plugin has seen yet.
struct FilterScope<'f> {
    filter: &'f ViewFilter,
    request: &'f Request,
}

impl Scope for FilterScope<'_> {
    fn call(&self, name: &str, arguments: &[ExprValue]) -> Option<Result<ExprValue, EvalError>> {
        let ("metadata", [ExprValue::Text(label)]) = (name, arguments) else { return None };
        let sources = self.filter.found.get_or_init(|| self.filter.sources.get().into_iter().next());
        let sources = sources.as_ref().filter(|sources| sources.cover(self.request));
        let value = sources.and_then(|sources| sources.value(label, self.request));
        Some(Ok(ExprValue::Text(value.unwrap_or_default())))
    }
}

/// The name of a view as metadata.
struct ViewName(String);

impl MetadataSource for ViewName {
    fn value(&self, label: &str, _: &Request) -> Option<String> {
        (label == "view/name").then(|| self.0.clone())
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
    setup.offer(Arc::new(MetadataOffer(Arc::new(ViewName(name.clone())))));
    let (sources, found) = (setup.want(), OnceLock::new());
    setup.filter(&name, Arc::new(ViewFilter { expressions, sources, found }));
    Ok(Vec::new())
}
