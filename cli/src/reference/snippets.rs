//! The page of the directives in snippets.

use ingress_routes::snippet::{DIRECTIVES, Fate, MAX_DIRECTIVES, MAX_LENGTH, REFUSED_NOTE, SnippetDirective};

use super::cell;

/// The page.
pub(super) fn page() -> String {
    let mut text = format!(
        "# Snippets\n\nThe annotations `configuration-snippet`, `server-snippet` and `auth-snippet` and the keys `main-snippet`, `http-snippet`, `server-snippet`, \
         `location-snippet` and `global-auth-snippet` have directives in the syntax of nginx; `stream-snippet` has blocks of its own ([annotations](annotations.md)). These are parsed, and those of the list below are honoured; no \
         text is inserted anywhere. {REFUSED_NOTE}\n\nAnnotations need the keys `allow-snippet-annotations: \"true\"` and `annotations-risk-level: \
         Critical` of the ConfigMap. Without the first they are ignored, and without the second the Ingress is left out, as in ingress-nginx. Keys of \
         the ConfigMap need neither.\n\nValues may have the variables that annotations may have (`$host`, `$uri`, `$request_uri`, `$req_id`, `$http_name`, \
         `$cookie_name`, `$arg_name`, …), `$namespace`, `$ingress_name`, `$service_name`, `$service_port`, `$location_path` and `$server_name`, those that `set` and \
         named groups of regular expressions set, and `$1` to `$9` of the last regular expression that matched.\n\nA snippet has at most \
         {} KiB and {MAX_DIRECTIVES} directives.\n\n```yaml\n{EXAMPLE}```\n\n",
        MAX_LENGTH >> 10
    );
    text += "| what becomes of a directive | number |\n|---|---|\n";
    for fate in ["honoured", "without effect", "refused"] {
        let all = DIRECTIVES.iter().flat_map(|(_, directives)| *directives);
        let number = all.filter(|directive| directive.fate.name() == fate).count();
        text += &format!("| {fate} | {number} |\n");
    }
    for (group, directives) in DIRECTIVES {
        text += &format!("\n## {group}\n\n{}", table(directives));
    }
    text
}

const EXAMPLE: &str = "nginx.ingress.kubernetes.io/configuration-snippet: |
  more_set_headers \"Request-Id: $req_id\";
  proxy_set_header X-Zone eu;
  if ($request_method = DELETE) {
    return 405;
  }
";

fn table(directives: &[SnippetDirective]) -> String {
    let is_refused = directives.iter().all(|directive| matches!(directive.fate, Fate::Refused));
    let mut text = match is_refused {
        true => "| directive | closes the routes | why, or what to use |\n|---|---|---|\n".to_owned(),
        false => "| directive | arguments | where | meaning |\n|---|---|---|---|\n".to_owned(),
    };
    for SnippetDirective { name, arguments, contexts, protects, doc, .. } in directives {
        if is_refused {
            text += &format!("| `{name}` | {} | {} |\n", if *protects { "yes" } else { "no" }, cell(doc));
            continue;
        }
        let places: Vec<_> = contexts.iter().map(|context| context.name()).collect();
        text += &format!("| `{name}` | {} | {} | {} |\n", cell(arguments), places.join(", "), cell(doc));
    }
    text
}
