use dns_wire::Query;

use super::*;

fn value(text: &str) -> Result<ExprValue, String> {
    let mut request = Request::new(Transport::Udp, ([10, 0, 0, 53], 53).into());
    request.query = Query::new(7, &"WWW.example.org.".parse().unwrap(), 28);
    request.client = ([10, 1, 2, 3], 4711).into();
    request.size = 33;
    Expression::parse(text, &[], &[])?.evaluate(&request, &NoScope)
}

#[test]
fn expressions_have_the_values_of_the_language() {
    for (text, wanted) in [
        ("1 + 2 * 3", ExprValue::Int(7)),
        ("(1 + 2) * -3 % 4", ExprValue::Int(-1)),
        ("7 / 2", ExprValue::Float(3.5)),
        ("'a' + \"b\"", ExprValue::Text("ab".into())),
        ("true && !false || false", ExprValue::Bool(true)),
        ("true and not false or false", ExprValue::Bool(true)),
        ("false && int('x') == 1", ExprValue::Bool(false)),
        ("1 < 2 ? 'yes' : 'no'", ExprValue::Text("yes".into())),
        ("type() in ['A', 'AAAA']", ExprValue::Bool(true)),
        ("type() not in ['A']", ExprValue::Bool(true)),
        ("name() == 'www.example.org.'", ExprValue::Bool(true)),
        ("name() endsWith '.org.' and name() startsWith 'www'", ExprValue::Bool(true)),
        ("name() matches '^w+[.]'", ExprValue::Bool(true)),
        ("name() contains 'ample'", ExprValue::Bool(true)),
        ("incidr(client_ip(), '10.0.0.0/8')", ExprValue::Bool(true)),
        ("incidr(client_ip(), 'fd00::/8')", ExprValue::Bool(false)),
        ("[id(), opcode(), size(), bufsize()] == [7, 0, 33, 512]", ExprValue::Bool(true)),
        (
            "[port(), server_port(), server_ip(), proto(), class(), do()] == ['4711', '53', '10.0.0.53', 'udp', 'IN', false]",
            ExprValue::Bool(true),
        ),
        ("metadata('a/b') == ''", ExprValue::Bool(true)),
        ("len(split('a,b', ',')) == 2.0", ExprValue::Bool(true)),
        (r"'it\'s\n'", ExprValue::Text("it's\n".into())),
        ("`a\\b`", ExprValue::Text("a\\b".into())),
        ("any(split(name(), '.'), # == 'example')", ExprValue::Bool(true)),
        ("all([1, 2, 3], {# > 0}) && none([1], # > 1) && one([1, 2], # > 1)", ExprValue::Bool(true)),
        (
            "filter(1..5, # % 2 == 1)",
            ExprValue::List(vec![1, 3, 5].into_iter().map(ExprValue::Int).collect()),
        ),
        ("map(['a', 'b'], upper(#)) | join('-')", ExprValue::Text("A-B".into())),
        ("count([1, 2, 3], # in [2, 3]) + findIndex([7, 8], # == 8)", ExprValue::Int(3)),
        ("any([[1], [2]], any(#, # == 2))", ExprValue::Bool(true)),
        ("find([1], # == 2) ?? 'none'", ExprValue::Text("none".into())),
        (
            "let labels = split(name(), '.'); let tld = labels[-2]; tld + labels[0]",
            ExprValue::Text("orgwww".into()),
        ),
        ("name()[0:3] + name()[-4:] + 'abc'[:1]", ExprValue::Text("wwworg.a".into())),
        ("[1, 2, 3][1:] == [2, 3.0]", ExprValue::Bool(true)),
        ("replace('a.b.c', '.', '-', 1)", ExprValue::Text("a-b.c".into())),
        ("trimSuffix(name(), '.') | trimPrefix('www.')", ExprValue::Text("example.org".into())),
        (
            "not hasSuffix(name(), '.test.') and name() not matches '^x' and not (1 in [2])",
            ExprValue::Bool(true),
        ),
        ("2 ** 3 ** 2 == 512 and -2 ^ 2 == -4 and 1 + 2 * 3 ** 2 == 19", ExprValue::Bool(true)),
        ("max(1, 3, 2) + min([4, 5]) + sum(1..3) + indexOf('abc', 'c') + bitand(6, 3)", ExprValue::Int(17)),
        ("(len(split('abc', '')) == 3) ? first(['x']) : last([])", ExprValue::Text("x".into())),
        ("incidr(server_ip(), '10.0.0.0/24') || incidr(client_ip(), type())", ExprValue::Bool(true)),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
}

#[test]
fn an_expression_that_has_no_value_says_why() {
    for (text, why) in [
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("(1", "')' is missing"),
        ("1 2", "unexpected 2"),
        ("'x", "quote is not closed"),
        ("x", "unknown name x"),
        ("f()", "unknown function f"),
        ("incidr('a')", "incidr takes 2 arguments"),
        ("1 matches '('", "regex"),
        ("1 && true", "neither true nor false"),
        ("1 < 'a'", "cannot be compared"),
        ("incidr('notanip', '10.0.0.0/8')", "not an IP address"),
        ("int('x')", "not a number"),
        ("9223372036854775807 + 1", "out of range"),
        ("1 % 0", "out of range"),
        ("@", "unexpected @ (column 1)"),
        ("type() == nope", "unknown name nope (column 11)"),
        ("1 + sortBy([1], #)", "unknown function sortBy (column 5)"),
        ("# == 1", "# is not within a condition on an array (column 1)"),
        ("{a: 1}", "maps are not supported"),
        ("name().x", "fields are not supported (column 7)"),
        ("name()?.x", "fields are not supported"),
        ("if true { 1 } else { 2 }", "if is not supported"),
        ("let type = 1; 2", "type is defined already"),
        ("let a = 1", "';' is missing (column 10)"),
        ("any([1], # == 1", "')' is missing"),
        ("[1][1]", "index out of range: 1"),
        ("1[0]", "not an array"),
        ("1..100000", "more than 10000 values"),
        ("repeat('ab', 100000)", "more than 65536 bytes"),
        ("all(1..9999, all(1..9999, true))", "more than 100000 steps"),
    ] {
        let error = value(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let indexes = format!("[1]{}", "[0:]".repeat(100));
    assert!(value(&indexes).is_err(), "the number of indexes is bounded");
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(value(&deep).is_err(), "the depth is bounded");
    let chain = |operators: usize| format!("1{}", " + 1".repeat(operators));
    assert_eq!(value(&chain(128)), Ok(ExprValue::Int(129)));
    for operators in [129, 100_000] {
        let error = value(&chain(operators)).expect_err("the length is bounded");
        assert!(error.contains("more than 128 operators"), "{error}");
    }
}
