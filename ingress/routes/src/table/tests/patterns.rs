//! Hosts of regular expressions, and rewrites.

use super::*;

#[test]
fn one_regular_expression_makes_all_paths_of_its_host_patterns() {
    // [rewrite.go and the documented surprises]
    let world = TestCluster::new(
        "
metadata: {name: plain, created: 1}
spec:
  rules:
  - host: foo.example
    paths:
    - [/Exact, Exact, exact]
    - [/pre, Prefix, pre]
    - [/pre/slash/, Prefix, slash]
    - [/, Prefix, root]
---
metadata: {name: regex, created: 2, annotations: {use-regex: 'true'}}
spec:
  rules:
  - host: foo.example
    paths:
    - ['/v[0-9]+/.*', ImplementationSpecific, version]
    - ['/v[0-9]', ImplementationSpecific, short]
    - ['/(?!private)[a-z]+/look', ImplementationSpecific, look]
---
metadata: {name: other, created: 3}
spec:
  rules:
  - {host: bar.example, paths: [[/Exact, Exact, exact]]}
",
    );
    check(
        &world,
        &[
            ("foo.example/Exact", "exact"),
            ("foo.example/exact/and/more", "exact"),
            ("foo.example/prefix", "pre"),
            ("foo.example/PRE/x", "pre"),
            ("foo.example/pre/slash", "pre"),
            ("foo.example/pre/slash/x", "slash"),
            ("foo.example/v12/x", "version"),
            ("foo.example/v12", "short"),
            ("foo.example/public/look", "look"),
            ("foo.example/private/look", "root"),
            ("foo.example/other", "root"),
            ("bar.example/exact", "404"),
        ],
    );
}

#[test]
fn targets_are_rewritten() {
    // [rewrite.go]
    let world = TestCluster::new(
        "
metadata: {name: groups, annotations: {rewrite-target: /$2}}
spec:
  rules:
  - {host: groups.example, paths: [['/something(/|$)(.*)', ImplementationSpecific, web]]}
---
metadata: {name: fixed, annotations: {rewrite-target: /new/backend}}
spec:
  rules:
  - {host: fixed.example, paths: [['/foo/bar/[a-z]{3}', ImplementationSpecific, web], [/, Prefix, web]]}
---
metadata: {name: same, annotations: {rewrite-target: /}}
spec:
  rules:
  - {host: same.example, paths: [[/, Prefix, web]]}
---
metadata: {name: itself, annotations: {rewrite-target: /api}}
spec:
  rules:
  - {host: itself.example, paths: [[/api, Prefix, web]]}
---
metadata: {name: exact, annotations: {rewrite-target: /api}}
spec:
  rules:
  - {host: exact.example, paths: [[/api, Exact, web]]}
---
metadata: {name: slash, annotations: {rewrite-target: /api/}}
spec:
  rules:
  - {host: slash.example, paths: [[/api/, Prefix, web]]}
---
metadata: {name: marks, annotations: {rewrite-target: '/|$1|{%41?q=$1|'}}
spec: {rules: [{host: marks.example, paths: [[/x/(.*), ImplementationSpecific, web]]}]}
---
metadata: {name: away, annotations: {rewrite-target: 'https://example.org/$1'}}
spec:
  rules:
  - {host: away.example, paths: [['/go/(.*)', ImplementationSpecific, web]]}
---
metadata: {name: loose, annotations: {rewrite-target: $1}}
spec:
  rules:
  - {host: loose.example, paths: [['/api(/.*)?', ImplementationSpecific, web]]}
",
    );
    check(
        &world,
        &[
            ("groups.example/something", "web /"),
            ("groups.example/something/", "web /"),
            ("groups.example/SOMETHING/New", "web /New"),
            ("groups.example/something/new?a=b&c", "web /new?a=b&c"),
            ("groups.example/something/new?", "web /new"),
            ("groups.example/something/a%20b%2Fc", "web /a%20b/c"),
            ("groups.example/something/%E9%C3%A9", "web /%E9%C3%A9"),
            ("groups.example/other", "404"),
            ("fixed.example/foo/bar/xyz", "web /new/backend"),
            ("fixed.example/else", "web /new/backend"),
            ("same.example/anything", "web"),
            ("itself.example/api", "web"),
            ("itself.example/api/x", "web /api"),
            ("itself.example/API/", "web /api"),
            ("itself.example/apix/api/x", "web"),
            ("exact.example/api/x", "web"),
            ("slash.example/api/x", "web"),
            // Beside nginx 1.22, also the next ones.
            ("marks.example/x/a", "web /%7Ca%7C%7B%2541?q=a|"),
            ("marks.example/x/a%7Cb%26", "web /%7Ca%7Cb&%7C%7B%2541?q=a%7Cb%26|"),
            ("away.example/go/x?y", "302 https://example.org/x?y"),
            ("away.example/go/a%7Cb%20%26", "302 https://example.org/a|b%20&"),
            ("loose.example/api", "web /"),
            ("loose.example/api/x", "web /x"),
        ],
    );
}

#[test]
fn a_bad_regular_expression_closes_its_route_only() {
    let world = TestCluster::new(
        "
metadata: {name: bad, annotations: {use-regex: 'true'}}
spec:
  rules:
  - host: foo.example
    paths:
    - ['/admin/(.*', ImplementationSpecific, admin]
    - ['/(', ImplementationSpecific, odd]
    - [/good, ImplementationSpecific, good]
    - [/, Prefix, root]
",
    );
    check(
        &world,
        &[
            ("foo.example/admin/x", "503"),
            ("foo.example/good", "good"),
            ("foo.example/anything", "root"),
            ("foo.example/(", "503"),
        ],
    );
    let problems = world.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("is not a regular expression"), "{problems:?}");
    assert!(problems[0].contains(": spec.rules[0].http.paths["), "{problems:?}");
}

#[test]
fn rewrite_targets_may_have_variables_and_named_groups() {
    let world = TestCluster::new(
        "
metadata: {name: named, annotations: {rewrite-target: '/$lang/${page}x'}}
spec:
  rules:
  - host: named.example
    paths:
    - ['/(?<lang>[a-z]{2})/(?P<page>.*)', ImplementationSpecific, web]
    - [/plain, ImplementationSpecific, web]
---
metadata: {name: variables, annotations: {rewrite-target: '/$host/$scheme$uri?h=$http_x_user&u=$uri&n=$namespace'}}
spec: {rules: [{host: variables.example, paths: [['/(.*)', ImplementationSpecific, web]]}]}
---
metadata: {name: whole, annotations: {rewrite-target: /x$request_uri}}
spec: {rules: [{host: whole.example, paths: [['/(.*)', ImplementationSpecific, web]]}]}
---
metadata: {name: away, annotations: {rewrite-target: '$scheme://new.example$request_uri?'}}
spec: {rules: [{host: away.example, paths: [['/(.*)', ImplementationSpecific, web]]}]}
---
metadata: {name: lookahead, annotations: {rewrite-target: /$rest}}
spec: {rules: [{host: look.example, paths: [['/(?!private)(?<rest>.*)', ImplementationSpecific, web]]}]}
---
metadata: {name: unknown, annotations: {rewrite-target: /$nothing}}
spec: {rules: [{host: unknown.example, paths: [['/(?<x>.*)', ImplementationSpecific, web]]}]}
",
    );
    let user = [("x-user", "ann b\"")];
    for (url, outcome) in [
        ("named.example/de/news", "web /de/newsx"),
        ("named.example/plain", "web //x"),
        ("Variables.example:80/a%20b", "web /variables.example/http/a%20b?h=ann%20b%22&u=/a%20b&n=default"),
        (
            "variables.example/a%0d%0ab?q=1",
            "web /variables.example/http/a%0D%0Ab?h=ann%20b%22&u=/a%0D%0Ab&n=default&q=1",
        ),
        ("whole.example/a%20b?c", "web /x/a%2520b%3Fc?c"),
        ("https://away.example/a%20b?c", "302 https://new.example/a%20b?c"),
        ("look.example/public/x", "web /public/x"),
        ("look.example/private/x", "404"),
        ("unknown.example/a", "503"),
    ] {
        assert_eq!(world.ask(url, &user, 0), outcome, "{url}");
    }
    let problems = world.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let what =
        "rewrite-target: $nothing is neither a known variable nor a named group of the path \"/(?<x>.*)\"";
    assert!(problems[0].contains(what), "{problems:?}");
}

#[test]
fn a_request_that_needs_too_many_steps_gets_500_and_is_counted() {
    let paths = |n: usize| format!("    - ['/(.*)(.*)(.*)\\1z{n}', ImplementationSpecific, web]\n");
    let paths: String = (0..500).map(paths).collect();
    let world = TestCluster::new(&format!(
        "
metadata: {{name: slow, annotations: {{use-regex: 'true'}}}}
spec:
  rules:
  - host: slow.example
    paths:
{paths}---
metadata: {{name: fast}}
spec: {{rules: [{{host: fast.example, paths: [[/, Prefix, web]]}}]}}
"
    ));
    let heavy = format!("slow.example/{}z0123456789", "ab".repeat(100));
    check(&world, &[("slow.example/usual", "404"), ("slow.example/a/b", "404")]);
    assert_eq!((world.table.load().step_limit_hits(), world.problems()), (0, vec![]));
    check(&world, &[(&heavy, "500"), ("fast.example/", "web"), (&heavy, "500")]);
    assert_eq!(world.table.load().step_limit_hits(), 2);
    let problems = world.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("Ingress default/slow: path of host slow.example: "), "{problems:?}");
    assert!(problems[0].contains("such requests get 500"), "{problems:?}");

    let problems = |minutes: u64| world.problems_at(Duration::from_secs(60 * minutes)).len();
    assert_eq!((problems(9), problems(10)), (1, 0), "it ends ten minutes after the last request");
    check(&world, &[(&heavy, "500")]);
    assert_eq!((problems(12), problems(21), problems(22)), (1, 1, 0));
}
