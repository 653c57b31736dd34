//! `fastcgi-index` and `fastcgi-params-configmap`: what FastCGI applications get.

use cluster::Key;

use super::authentication::namespace_error;
use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::plan::fastcgi::{DOCUMENT_ROOT, FastCgiOptions, FastCgiValue};
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::template::is_name_character;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "fastcgi",
    doc: "Requests to FastCGI applications (`backend-protocol: FCGI`). They get nginx's usual parameters, and the headers that other \
          endpoints get as `HTTP_…`.",
    annotations: &[
        Annotation {
            name: INDEX,
            values: "a file name",
            doc: "appended to `$fastcgi_script_name` where the path ends with a slash",
        },
        Annotation {
            name: PARAMS,
            values: "namespace/name or the name of a ConfigMap",
            doc: "parameters of every request, such as SCRIPT_FILENAME; variables of nginx are expanded in the values. The ConfigMap is \
                  followed. Without it, or with an entry that is not allowed, the routes answer 503.",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "fastcgi-index: index.php\n\
             fastcgi-params-configmap: default/php",
    read,
    plan,
    ..AnnotationFamily::NONE
};

const INDEX: &str = "fastcgi-index";
const PARAMS: &str = "fastcgi-params-configmap";

/// The variable of the script, which depends on the index.
const SCRIPT: &str = "fastcgi_script_name";

/// The settings of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
struct FastCgi {
    index: Option<String>,
    params: Option<ConfigMapParams>,
}

/// The parameters of a ConfigMap.
#[derive(Clone, Debug, PartialEq)]
struct ConfigMapParams {
    key: Key,
    /// Names and values.
    values: Vec<(String, ScriptText<Template>)>,
}

/// A text, divided where it has the script's name.
#[derive(Clone, Debug, PartialEq)]
struct ScriptText<T>(Vec<T>);

impl ScriptText<Template> {
    /// `None` if it has an unknown variable.
    fn parse(text: &str) -> Option<Self> {
        let text = replaced(text, "document_root", DOCUMENT_ROOT);
        // Nothing divides the script from a path after it, as without `fastcgi_split_path_info`.
        let text = replaced(&text, "fastcgi_path_info", "");
        let text = replaced(&text, SCRIPT, "\0");
        text.split('\0').map(|part| Template::parse(part, None)).collect::<Option<_>>().map(Self)
    }

    fn of_rule(&self, rule: &Rule<'_>) -> ScriptText<RuleText> {
        ScriptText(self.0.iter().map(|part| part.of_rule(rule, None)).collect())
    }
}

/// The text with another in place of a variable.
fn replaced(text: &str, variable: &str, with: &str) -> String {
    let text = text.replace(&format!("${{{variable}}}"), with);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some((before, after)) = rest.split_once(&format!("${variable}")) {
        out.push_str(before);
        let is_longer = after.starts_with(is_name_character);
        out.push_str(&if is_longer { format!("${variable}") } else { with.to_owned() });
        rest = after;
    }
    out + rest
}

impl FastCgiValue for ScriptText<RuleText> {
    fn value(&self, exchange: &Exchange, script: &str) -> String {
        let parts: Vec<_> = self.0.iter().map(|part| part.value(exchange)).collect();
        parts.join(script)
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // A canary uses the settings of the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    let index = reader.value(INDEX, "a file name", Effect::DefaultUsed, |value| {
        value.bytes().all(is_name).then(|| value.to_owned())
    });
    let params = read_params(reader, is_name);
    if index.is_some() || params.is_some() {
        settings.values.set(FastCgi { index, params });
    }
}

fn read_params(reader: &mut SettingReader<'_>, is_name: impl Fn(u8) -> bool) -> Option<ConfigMapParams> {
    let named = reader.text(PARAMS).and_then(|value| reader.object_key(value));
    let wanted = "the name of a ConfigMap, or its namespace/name";
    let key = reader.value(PARAMS, wanted, Effect::Closed, |_| named)?;
    let Some(config_map) = reader.config_map(&key) else {
        reader.problem(PARAMS, format!("ConfigMap {key} does not exist"), Effect::Closed);
        return None;
    };
    let is_value = |byte: u8| is_name(byte) || b"${}".contains(&byte);
    let mut params = Vec::with_capacity(config_map.data.len());
    for (name, value) in &config_map.data {
        let is_allowed = !name.is_empty() && name.bytes().all(&is_name) && value.bytes().all(is_value);
        let is_allowed = is_allowed && reader.geo().missing_in(value).is_none();
        match ScriptText::parse(value).filter(|_| is_allowed) {
            Some(text) => params.push((name.to_string(), text)),
            None => {
                let what = "should be letters, digits, . - _ / and variables that are known";
                let what = format!("{name:?} of ConfigMap {key}: {value:?} {what}");
                reader.problem(PARAMS, what, Effect::Closed);
            }
        }
    }
    Some(ConfigMapParams { key, values: params })
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let named = settings.values.get::<FastCgi>().and_then(|fastcgi| fastcgi.params.as_ref());
    if let Some(error) = named.and_then(|params| namespace_error(rule, "ConfigMap", &params.key)) {
        plan.closed = Some((PARAMS, error));
    }
}

/// The options of a rule.
pub(super) fn options(settings: &Settings, rule: &Rule<'_>) -> FastCgiOptions {
    let Some(FastCgi { index, params }) = settings.values.get() else { return FastCgiOptions::default() };
    let params = params.iter().flat_map(|params| &params.values);
    let params = params.map(|(name, text)| -> (String, Box<dyn FastCgiValue>) {
        (name.clone(), Box::new(text.of_rule(rule)))
    });
    FastCgiOptions { index: index.clone(), params: params.collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster::{ConfigMap, Object};

    use super::*;
    use crate::exchange::tests::get;
    use crate::testing::TestCluster;

    const INGRESS: &str = "
metadata: {name: x, annotations: {backend-protocol: fcgi, fastcgi-index: index.php, fastcgi-params-configmap: php}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: y, annotations: {backend-protocol: FCGI, fastcgi-params-configmap: other/php}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
";

    fn config_map(key: Key, data: &[(&str, &str)]) -> Object {
        let data = data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        Object::ConfigMap(Arc::new(ConfigMap { key, data }))
    }

    /// The parameters that the ConfigMap adds to a request.
    fn params(cluster: &TestCluster, url: &str) -> Vec<String> {
        let exchange = get(url, &[]);
        let table = cluster.table.load();
        let route = table.find(exchange.host(), exchange.path()).route().clone();
        let options =
            route.plan.upstream.as_ref().and_then(|upstream| upstream.fastcgi.as_ref()).expect("FastCGI");
        let script = options.script_name(&exchange);
        let params = options.params.iter();
        params.map(|(name, value)| format!("{name}={}", value.value(&exchange, &script))).collect()
    }

    #[test]
    fn the_config_map_is_followed_and_its_variables_are_known() {
        let mut cluster = TestCluster::new(INGRESS).services("web 80 10.0.0.1");
        let php = |data: &[(&str, &str)]| config_map(Key::new("default", "php"), data);
        assert_eq!(cluster.get("a.example/"), "503", "the ConfigMap is missing");
        cluster.apply([php(&[
            ("SCRIPT_FILENAME", "/www$fastcgi_script_name"),
            ("ROOT", "${document_root}/$fastcgi_script_name.d"),
            ("HOST", "$host"),
        ])]);
        assert_eq!(cluster.get("a.example/"), "web");
        assert_eq!(
            params(&cluster, "http://a.example/app/"),
            [
                "SCRIPT_FILENAME=/www/app/index.php",
                "ROOT=/usr/local/nginx/html//app/index.php.d",
                "HOST=a.example",
            ]
        );
        for data in [("A B", "1"), ("A", "a b"), ("A", "$none"), ("A", "$fastcgi_script_name_x")] {
            cluster.apply([php(&[data])]);
            assert_eq!(cluster.get("a.example/"), "503", "{data:?}");
            let problems = cluster.problems().join("\n");
            assert!(problems.contains("of ConfigMap default/php"), "{data:?}: {problems}");
        }
        cluster.apply([php(&[])]);
        assert_eq!(params(&cluster, "http://a.example/"), [""; 0]);
    }

    #[test]
    fn a_config_map_of_another_namespace_closes_the_routes() {
        let mut cluster = TestCluster::new(INGRESS).services("web 80 10.0.0.1");
        cluster.apply([config_map(Key::new("other", "php"), &[])]);
        assert_eq!(cluster.get("b.example/"), "503");
    }
}
