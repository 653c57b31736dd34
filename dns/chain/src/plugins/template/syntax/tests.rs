use dns_wire::Query;
use regex::Regex;

use super::*;
use crate::codes::{Class, Type};
use crate::request::Transport;

fn executed(text: &str) -> Result<String, String> {
    let mut request = Request::new(Transport::Udp, ([10, 0, 0, 53], 53).into());
    request.query = Query::new(7, &"A-12.Example.org.".parse().unwrap(), 28);
    request.client = ([10, 1, 2, 3], 4711).into();
    let pattern = Regex::new("^(?P<kind>[a-z])-([0-9]+)[.]").unwrap();
    let mut data = TemplateData::new(
        "example.org.",
        (Class(1), Type(28)),
        "a-12.example.org.",
        Some(&pattern),
        &request,
    );
    data.variables.push(("n".to_owned(), ExprValue::Int(3)));
    TextTemplate::parse(text)?.execute(&data, &request)
}

#[test]
fn templates_make_the_texts_that_go_makes() {
    for (text, wanted) in [
        ("no action", "no action"),
        (
            "{{ .Name }} {{.Zone}} {{ .Class }} {{ .Type }} {{ .Remote }}",
            "a-12.example.org. example.org. IN AAAA 10.1.2.3",
        ),
        ("{{ .Group.kind }}{{ index .Group \"2\" }}{{ index .Match 2 }}", "a1212"),
        ("{{ .Group.none }}", "<no value>"),
        ("{{ .Var.n }} {{ len .Var }} {{ len .Match }}", "3 1 3"),
        ("{{ .Question.Name }} {{ .Question.Qtype }} {{ .Message.Id }}", "A-12.Example.org. 28 7"),
        ("{{ .Meta \"a/b\" }}|", "|"),
        ("{{ if eq .Type \"A\" \"AAAA\" }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if false }}1{{ else if gt .Var.n 2 }}2{{ else }}3{{ end }}", "2"),
        ("{{ range .Match }}<{{ . }}>{{ end }}", "<a-12.><a><12>"),
        ("{{ range $at, $group := .Match }}{{ $at }}{{ $group }} {{ end }}", "0a-12. 1a 212 "),
        ("{{ with .Group.kind }}{{ . }}{{ $.Zone }}{{ end }}", "aexample.org."),
        ("{{ with \"\" }}a{{ else }}b{{ end }}", "b"),
        ("{{ $x := parseInt \"ff\" 16 8 }}{{ $x }}", "255"),
        ("{{ printf \"%03d-%s-%x\" 7 .Group.kind 255 }}", "007-a-ff"),
        ("{{ .Group.kind | printf \"%s!\" }}", "a!"),
        ("{{ print 1 2 \"a\" }}", "1 2a"),
        ("{{ and 1 0 2 }} {{ or 0 \"x\" }} {{ not 1 }}", "0 x false"),
        ("{{ if (and (eq 1 1) (ne 1 2)) }}ok{{ end }}", "ok"),
        ("a {{- \" b \" -}} c{{/* comment */}}", "a b c"),
        ("{{ `raw }}` }}", "raw }}"),
    ] {
        assert_eq!(executed(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_is_wrong_is_an_error() {
    for (text, why) in [
        ("{{ .Name", "not closed"),
        ("{{ }}", "an empty action"),
        ("{{ .Nmae }}", "no field .Nmae"),
        ("{{ unknown 1 }}", "\"unknown\" is not defined"),
        ("{{ if true }}x", "{{end}} is missing"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ define \"x\" }}{{ end }}", "not supported"),
        ("{{ index .Match 9 }}", "out of range"),
        ("{{ parseInt \"gg\" 16 8 }}", "parseInt"),
        ("{{ parseInt \"256\" 10 8 }}", "parseInt"),
        ("{{ eq 1 \"1\" }}", "different types"),
        ("{{ $x }}", "undefined variable"),
        ("{{ .Name \"x\" }}", "take arguments"),
        ("{{ (1 }}", "')' is missing"),
        ("{{ range 1 }}{{ end }}", "range over"),
        ("{{ printf \"%d\" \"x\" }}", "printf"),
    ] {
        let error = executed(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let deep = format!("{}1{}", "{{ if 1 }}".repeat(1_000), "{{ end }}".repeat(1_000));
    assert!(executed(&deep).is_err(), "the depth is bounded");
}

#[test]
fn what_a_query_would_fail_at_is_known_when_a_template_is_read() {
    let field = |name: &str| Ok(Some(format!("the data has no field .{name}")));
    let below = |field: &str, name: &str| Ok(Some(format!(".{field} has no field .{name}")));
    let arguments = || Ok(Some("only functions and .Meta take arguments".to_owned()));
    let undefined = || Err("undefined variable $x".to_owned());
    for (text, wanted) in [
        ("{{ .Name }}{{ .Group.x }}{{ .Var.x }}{{ .Message.Question.Name }}{{ .Meta \"a/b\" }}", Ok(None)),
        ("{{ with .Group }}{{ .anything }}{{ end }}", Ok(None)),
        ("{{ .Nmae }}", field("Nmae")),
        ("{{ if false }}{{ print .Nmae }}{{ end }}", field("Nmae")),
        ("{{ with .Group.a }}{{ $.Nmae }}{{ end }}", field("Nmae")),
        ("{{ .Name.x }}", below("Name", "x")),
        ("{{ .Group.a.b }}", below("a", "b")),
        ("{{ .Question.Type }}", below("Question", "Type")),
        ("{{ .Message.Question.Type }}", below("Question", "Type")),
        ("{{ .Name \"x\" }}", arguments()),
        ("{{ \"x\" | .Name }}", arguments()),
        ("{{ if false }}{{ $x }}{{ end }}", undefined()),
        ("{{ if false }}{{ $x := 1 }}{{ end }}{{ $x }}", undefined()),
    ] {
        let found = TextTemplate::parse(text).map(|template| template.impossible().map(str::to_owned));
        assert_eq!(found, wanted, "{text}");
    }
}

/// Parsing and executing a template that was changed at random ends, with a result or an error.
#[test]
fn a_damaged_template_is_never_a_panic() {
    let text = "{{ .Name }} 60 {{- /* é */ -}} {{ $x := index .Match 2 | printf \"%03d-%s\" }}{{ if and (eq $x \"1\") .Group.kind }}a{{ else if true }}b{{ else }}c{{ end }}{{ range $a, $b := .Group }}{{ $b }}{{ end }}{{ parseInt `ff` 16 8 }}";
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..1_000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.bool() {
                true => bytes[at] = random.u8(32..127),
                false => {
                    bytes.remove(at);
                }
            }
        }
        let _ = executed(&String::from_utf8_lossy(&bytes));
    }
}
