//! `portolan migrate values`: makes a values file of Portolan's chart from one of the ingress-nginx or the coredns chart.
//!
//! Keys of ingress-nginx keep their place; those of coredns move below `dns`. The text is edited rather than written anew, so that comments
//! and order stay: keys that the chart refuses or does not know become comments with the reason. What becomes of a key is read from the
//! chart itself: its schema, and `compat.yaml`, which its templates and NOTES use as well.

mod path;
mod chart;
mod schema;
mod outcome;
mod findings;
mod lines;
mod rewrite;

use serde_json::{Map, Value, json};

use self::chart::Chart;
pub use self::findings::FlagConsequence;
pub use self::outcome::{Finding, KeyOutcome};

/// The key of Portolan's chart below which the keys of coredns are.
const DNS: &str = "dns";

/// The chart that a values file was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesOrigin {
    /// The ingress-nginx chart.
    IngressNginx,
    /// The coredns chart.
    CoreDns,
    /// Portolan's chart.
    Portolan,
}

impl ValuesOrigin {
    /// All origins with their names on the command line.
    pub const NAMES: [(&'static str, Self); 3] =
        [("ingress-nginx", Self::IngressNginx), ("coredns", Self::CoreDns), ("portolan", Self::Portolan)];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, origin)| *origin == self).map_or("", |(name, _)| name)
    }
}

/// A values file of Portolan's chart, and what became of each key.
#[derive(Debug)]
pub struct MigratedValues {
    /// The chart that the given file was written for.
    pub origin: ValuesOrigin,
    /// The new file.
    pub text: String,
    /// The keys of the given file in its order; those without a line of their own last.
    pub findings: Vec<Finding>,
    /// Further advice, a line each.
    pub notes: Vec<String>,
}

impl MigratedValues {
    /// Whether the new installation lacks something that the old one has: a key was refused, or what it configures is closed.
    pub fn is_incomplete(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| matches!(finding.outcome, KeyOutcome::Refused | KeyOutcome::Closed))
    }

    /// The report: a line with the counts, then a line for each key, the worst first.
    pub fn report(&self) -> String {
        let mut counts = Vec::new();
        let mut lines = String::new();
        for outcome in KeyOutcome::ALL {
            let found: Vec<_> = self.findings.iter().filter(|finding| finding.outcome == outcome).collect();
            if !found.is_empty() {
                counts.push(format!("{} {}", found.len(), outcome.name()));
            }
            found.iter().for_each(|finding| lines += &format!("{finding}\n"));
        }
        let notes: String = self.notes.iter().map(|note| format!("note: {note}\n")).collect();
        format!("values of {}: {}\n{lines}{notes}", self.origin.name(), counts.join(", "))
    }
}

/// Makes a values file of Portolan's chart.
///
/// # Errors
/// When the text is not a values file, or its chart cannot be detected.
pub fn migrate_values(
    text: &str,
    origin: Option<ValuesOrigin>,
    flag: FlagConsequence<'_>,
) -> Result<MigratedValues, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let given: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let fields = match given {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        _ => return Err("a values file is a map of keys".to_owned()),
    };
    if let (Some(kind), true) = (fields.get("kind"), fields.contains_key("apiVersion")) {
        return Err(format!(
            "this is a Kubernetes object of kind {kind}, not a values file; pass the values that it contains"
        ));
    }
    let chart = Chart::read();
    let origin = match origin {
        Some(origin) => origin,
        None => detect(&chart, &fields)?,
    };
    let is_dns = origin == ValuesOrigin::CoreDns;
    let values = if is_dns { json!({ DNS: fields }) } else { Value::Object(fields) };
    let mut findings = findings::examine(&chart, &values, flag);
    let lines = lines::Lines::new(text);
    for finding in &mut findings {
        let path = if is_dns { finding.path.without_first() } else { finding.path.clone() };
        finding.line = lines.locate(&path).map(|entry| entry.lines.start + 1);
    }
    findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
    let rewritten = rewrite::rewrite(&lines, &values, &findings, is_dns);
    let mut notes = rewritten.notes;
    if is_dns && values[DNS]["service"]["name"].is_null() {
        notes.push(
            "dns.service.name is not set: the coredns chart names the Service after the release, Portolan's names it kube-dns".to_owned(),
        );
    }
    Ok(MigratedValues { origin, text: rewritten.text, findings, notes })
}

/// Finds out of which chart the keys of the root are.
fn detect(chart: &Chart, fields: &Map<String, Value>) -> Result<ValuesOrigin, String> {
    if fields.contains_key("controller") || fields.contains_key("defaultBackend") {
        let is_ours = ["dns", "mode"].iter().any(|key| fields.contains_key(*key));
        return Ok(if is_ours { ValuesOrigin::Portolan } else { ValuesOrigin::IngressNginx });
    }
    if fields.get(DNS).is_some_and(Value::is_object) {
        return Ok(ValuesOrigin::Portolan);
    }
    if let [(name, Value::Object(_))] = fields.iter().collect::<Vec<_>>()[..]
        && ["ingress-nginx", "coredns"].contains(&name.as_str())
    {
        return Err(format!(
            "the values are below {name}, as for a chart with dependencies; pass the part below it"
        ));
    }
    let of_ingress = fields.keys().filter(|key| chart.is_own_key(&chart.schema, key)).count();
    let of_dns = fields.keys().filter(|key| chart.is_own_key(&chart.schema["properties"][DNS], key)).count();
    match of_ingress.cmp(&of_dns) {
        std::cmp::Ordering::Greater => Ok(ValuesOrigin::IngressNginx),
        std::cmp::Ordering::Less => Ok(ValuesOrigin::CoreDns),
        std::cmp::Ordering::Equal => {
            Err("these may be values of ingress-nginx or of coredns; --from names the chart".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
