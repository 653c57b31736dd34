//! The report as one HTML file without scripts and without anything from elsewhere.

use std::fmt::Write;

use crate::outcome::Outcome;
use crate::report::{CheckedObject, Report};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--ok:#2a7d46;--other:#707070;--warn:#8f5500;--bad:#b3202a}\
@media(prefers-color-scheme:dark){:root{--ok:#6cc488;--warn:#e0a84a;--bad:#ff8a8a;--other:#a0a0a0}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}td,th{border-top:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}\
code{overflow-wrap:anywhere}details td:nth-child(-n+2){white-space:nowrap}summary{cursor:pointer;padding:.3rem 0}\
.as-before{color:var(--ok)}.not-ours{color:var(--other)}.ignored-as-before,.unknown,.differs{color:var(--warn)}.refused,.closed{color:var(--bad);font-weight:600}";

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
<title>portolan check</title><style>";

/// The report as a self-contained HTML document. Text of objects is escaped.
pub fn html(report: &Report) -> String {
    let mut page = format!("{HEAD}{STYLE}</style></head><body><main>\n<h1>What changes with Portolan</h1>\n");
    for note in &report.notes {
        let _ = writeln!(page, "<p>{}</p>", escaped(note));
    }
    page.push_str("<h2>Totals</h2>\n<table><thead><tr><th>Kind</th><th>Objects</th><th>Settings</th></tr></thead><tbody>\n");
    for total in report.totals() {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}: {}</td><td>{}: {}</td></tr>",
            escaped(&total.kind),
            total.objects.total(),
            total.objects,
            total.settings.total(),
            total.settings
        );
    }
    page.push_str("</tbody></table>\n");
    for objects in report.objects.chunk_by(|a, b| a.kind == b.kind) {
        let _ = writeln!(page, "<h2>{}</h2>", escaped(&objects[0].kind));
        objects.iter().for_each(|object| write_object(&mut page, object));
    }
    page.push_str("</main></body></html>\n");
    page
}

fn write_object(page: &mut String, object: &CheckedObject) {
    let open = if object.outcome.exit_code() > 0 { " open" } else { "" };
    let place = object.place.as_ref().map(|place| format!(" <code>{}</code>", escaped(&place.to_string())));
    let _ = writeln!(
        page,
        "<details{open}><summary>{} {}{}</summary><table><tbody>",
        badge(object.outcome),
        escaped(&object.name),
        place.unwrap_or_default()
    );
    for finding in &object.settings {
        let place = finding.place.as_ref().map(|place| escaped(&place.to_string())).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td><code>{place}</code></td><td><code>{}</code></td><td>{}</td></tr>",
            badge(finding.outcome),
            escaped(&finding.setting),
            escaped(&finding.reason)
        );
    }
    page.push_str("</tbody></table></details>\n");
}

fn badge(outcome: Outcome) -> String {
    let words = outcome.words();
    format!("<span class=\"{}\">{words}</span>", words.replace(' ', "-"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            ch => escaped.push(ch),
        }
    }
    escaped
}
