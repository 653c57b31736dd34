//! Matching patterns against texts, and the limits on its cost.

use super::path_pattern::separable_prefix;
use super::*;

#[test]
fn patterns_match_as_pcre_does() {
    for (pattern, text, groups) in [
        ("/api/(.*)", "/API/v1", Some(["v1", ""])),
        ("/something(/|$)(.*)", "/something", Some(["", ""])),
        ("/something(/|$)(.*)", "/something/new", Some(["/", "new"])),
        ("/(?!private)(.*)", "/public", Some(["public", ""])),
        ("^/(?!private)(.*)", "/private", None),
        (r"/(a+)/\1$", "/aa/aa", Some(["aa", ""])),
        (r"/v\d++/(\w+)\/", "/v12/x/", Some(["x", ""])),
        ("/a{b(.*)", "/a{bc", Some(["c", ""])),
        (r"^/(\w+)$", "/caf\u{e9}", None),
        (r"^/\d+$", "/\u{661}", None),
        (r"/x\Qa.b\E(.)", "/xa.bc", Some(["c", ""])),
    ] {
        let pattern = Pattern::new(pattern, true).expect(pattern);
        let found = pattern
            .captures(text, &mut StepBudget::default())
            .expect("few steps")
            .map(|groups| [1, 2].map(|n| groups.get(n).copied().unwrap_or_default()));
        assert_eq!(found, groups, "{pattern:?} on {text}");
        assert_eq!(
            pattern.is_match(text, &mut StepBudget::default()),
            Ok(groups.is_some()),
            "{pattern:?} on {text}"
        );
    }
}

fn groups(
    found: Result<Option<Captures<'_>>, StepLimitExceeded>,
) -> Result<Option<Vec<&str>>, StepLimitExceeded> {
    found.map(|found| found.map(|all| all[1..].to_vec()))
}

#[test]
fn a_path_pattern_matches_what_the_whole_pattern_matches() {
    let patterns = PatternCache::default();
    for (text, cut) in [
        ("/shop-17(/|$)(.*)", "/shop-17"),
        ("/plain", "/plain"),
        ("/api/?(.*)", "/api"),
        ("/api{1,2}/x", "/ap"),
        ("/[^/]+/x", "/"),
        ("/a(?:b|c)d", "/a"),
        ("/a(?!b).*", "/a"),
        ("/a(?<=/a)b", ""),
        (r"/a\b.*", ""),
        ("/a|/b", ""),
        ("/a(b|c)|/d", ""),
        ("/a[|]b", "/a"),
        (r"/a[\[\]|]b", "/a"),
        (r"/a[\[]|/b", ""),
        ("/a[^]|]b", "/a"),
        ("/a(?i)b", ""),
        ("/a^b", ""),
        ("(.*)", ""),
        ("/caf\u{e9}?x", "/caf"),
    ] {
        assert_eq!(separable_prefix(text), cut, "{text}");
        let anchored = PathPattern::anchored(text, &patterns).expect(text);
        let anywhere = PathPattern::anywhere(text, &patterns).expect(text);
        let whole = Pattern::new(&format!("^{text}"), true).expect(text);
        let loose = Pattern::new(text, true).expect(text);
        for path in [
            "/",
            "/shop-17",
            "/SHOP-17/x/y",
            "/shop-17x",
            "/plain/x",
            "/api",
            "/api/x",
            "/apii/x",
            "/ab",
            "/acd",
            "/a",
            "/b",
            "/x/b",
            "/abc/x",
            "/x/y/x",
            "/a|b",
            "/caf\u{e9}x",
            "/cafx",
            "/d",
            "/aab",
            "",
        ] {
            assert_eq!(
                anchored.is_match(path, &mut StepBudget::default()),
                whole.is_match(path, &mut StepBudget::default()),
                "{text} on {path}"
            );
            if whole.is_match(path, &mut StepBudget::default()) == Ok(true) {
                let [mut one, mut other] = [StepBudget::default(); 2];
                let found = groups(anywhere.captures(path, &mut one));
                assert_eq!(found, groups(loose.captures(path, &mut other)), "{text} on {path}");
            }
        }
    }
    let shared = |text: &str| PathPattern::anchored(text, &patterns).expect(text).rest.expect(text);
    assert!(Arc::ptr_eq(&shared("/shop-1(/|$)(.*)"), &shared("/shop-2(/|$)(.*)")));
}

#[test]
fn an_invalid_pattern_is_an_error() {
    for text in ["/(", "[", "(?<n", "a{5000}{5000}"] {
        assert!(Pattern::new(text, true).is_err(), "{text}");
    }
}

#[test]
fn a_position_counts_from_the_text_of_the_user() {
    let patterns = PatternCache::default();
    for (text, character) in [
        ("/(", 2),
        ("/shop(/|$)(", 11),
        (r"/shop\d\d(/|$)[", 15),
        (r"/caf\u{e9}\d(?<", 9),
        (r"/a\Qb.c\E\d(?z)", 14),
    ] {
        let text = text.replace("\\u{e9}", "\u{e9}").replace(r"\\", r"\");
        let error = PathPattern::anchored(&text, &patterns).expect_err(&text);
        let at = error.character.expect("a position");
        assert!(at.abs_diff(character) <= 1, "{text}: {error}, wanted {character}");
        assert!(error.to_string().ends_with(&format!("at character {at}")), "{error}");
    }
}

/// Pseudo-random letters, which need more DFA states than fit into the cache.
fn noise(length: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { 'a' } else { 'b' }
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_pattern_that_backtracks_without_end_is_stopped() {
    let pattern = Pattern::new(r"^(?:(?=a)a+)+$", true).expect("it compiles");
    let mut budget = StepBudget::default();
    assert_eq!(pattern.is_match(&("a".repeat(64) + "b"), &mut budget), Err(StepLimitExceeded));
    assert!(budget.is_exceeded());
}

#[test]
fn patterns_of_one_request_share_one_budget() {
    for (pattern, text, most) in [
        // The engine has to try every way of splitting the text in three.
        (r"^/(.*)(.*)\1z1", format!("/{}z1", noise(2000)), 20),
        // Regular, but with about as many states as the text has letters.
        ("^/[ab]*a[ab]{500}c", format!("/{}c", noise(8000)), 20),
        // The same with a match, so that groups are found.
        ("^/([ab]*a[ab]{500})b", format!("/{}", noise(8000)), 20),
    ] {
        let compiled = Pattern::new(pattern, true).expect(pattern);
        let mut budget = StepBudget::default();
        let runs = (0..1000).take_while(|_| {
            compiled.captures(&text, &mut budget).is_ok() && compiled.is_match(&text, &mut budget).is_ok()
        });
        let runs = runs.count();
        assert!(runs < most, "{pattern} ran {runs} times");
    }
}

#[test]
fn usual_patterns_cost_little() {
    for (pattern, most) in [
        ("^/api(/|$)(.*)", 32),
        ("^/[^/]+/items/([0-9]+)$", 32),
        // Costs the limit of the first attempt, but little if the path lacks a required byte.
        ("^/(?!private)(.*)", 1100),
        (r"^/(.*)(.*)\1z1", 32),
    ] {
        let compiled = Pattern::new(pattern, true).expect(pattern);
        let text = format!("/{}", "shop/".repeat(20));
        // The first run builds the states of the automaton.
        compiled.is_match(&text, &mut StepBudget::default()).expect("enough steps");
        let mut budget = StepBudget::default();
        compiled.is_match(&text, &mut budget).expect("enough steps");
        let steps = budget.spent();
        assert!(steps <= most, "{pattern} cost {steps} steps");
    }
}

#[test]
fn required_bytes_are_searched_ignoring_case() {
    for (pattern, text, found) in [
        (r"^/(a)\1z", "/AAZ", true),
        (r"^/(a)\1z", "/aay", false),
        (r"^/(?!x)k", "/\u{212a}", true),
        (r"^/(?!x)[zy]", "/Z", true),
        (r"^/(?=A)a|b", "b", true),
    ] {
        let compiled = Pattern::new(pattern, true).expect(pattern);
        assert_eq!(compiled.is_match(text, &mut StepBudget::default()), Ok(found), "{pattern} on {text}");
    }
}

#[test]
fn equal_texts_share_one_pattern() {
    let patterns = PatternCache::default();
    let (one, two) = (patterns.get("/(.*)"), patterns.get("/(.*)"));
    assert!(Arc::ptr_eq(&one.expect("it compiles"), &two.expect("it compiles")));
}
