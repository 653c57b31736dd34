//! Hosts of regular expressions, and rewrites.

use super::*;

#[test]
fn one_regular_expression_makes_all_paths_of_a_host_such() {
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
            ("away.example/go/x?y", "302 https://example.org/x?y"),
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
    assert!(problems[0].contains("is no regular expression"), "{problems:?}");
}
