//! Settings of ingress-nginx that are not supported yet: which of their values matter, how much, and their consequences.

/// How much the lack of a setting changes for clients and endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// It protects something: the routes that it would protect answer 503.
    Closed,
    /// Requests are served, but not as configured.
    Differs,
    /// Requests are served as configured; logs, speed or the proxy's own pages differ.
    Cosmetic,
}

impl Level {
    /// One word for log lines, pages and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Differs => "differs",
            Self::Cosmetic => "cosmetic",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of a setting with which nothing is lost, because they ask for what Portolan does anyway. The empty value is
/// always one of them: ingress-nginx treats it as unset.
#[derive(Clone, Copy, Debug)]
pub enum NeutralValues {
    /// Only the empty one.
    OnlyEmpty,
    /// A boolean that is false.
    False,
    /// A boolean that is true.
    True,
    /// These words, in any case.
    Words(&'static [&'static str]),
}

impl NeutralValues {
    /// Whether a value is one of these.
    pub fn contain(self, value: &str) -> bool {
        let value = value.trim();
        value.is_empty()
            || match self {
                Self::OnlyEmpty => false,
                Self::False => parse_bool(value) == Some(false),
                Self::True => parse_bool(value) == Some(true),
                Self::Words(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            }
    }
}

impl std::fmt::Display for NeutralValues {
    /// As a condition for a table: `unless false`; empty where every value matters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OnlyEmpty => Ok(()),
            Self::False => f.write_str("unless `false`"),
            Self::True => f.write_str("unless `true`"),
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "unless {}", words.join(" or "))
            }
        }
    }
}

/// A setting that is known by name and not supported yet: an annotation or a key of the ConfigMap.
#[derive(Clone, Copy, Debug)]
pub struct UnsupportedSetting {
    /// Its name; for an annotation, without the prefix.
    pub name: &'static str,
    /// How much it matters that it is not supported.
    pub level: Level,
    /// Values with which it does not matter.
    pub neutral: NeutralValues,
    /// The consequence of setting it, as one clause.
    pub consequence: &'static str,
}

impl UnsupportedSetting {
    /// The consequence of a value, for a report; `None` if the value is neutral.
    pub fn explain(&self, value: &str) -> Option<String> {
        let Self { name, neutral, consequence, .. } = self;
        (!neutral.contain(value)).then(|| format!("{name} {} is not honoured: {consequence}", quoted(value)))
    }
}

/// A setting of level [`Level::Closed`].
pub(crate) const fn closed(
    name: &'static str,
    neutral: NeutralValues,
    consequence: &'static str,
) -> UnsupportedSetting {
    UnsupportedSetting { name, level: Level::Closed, neutral, consequence }
}

/// A setting of level [`Level::Cosmetic`].
pub(crate) const fn cosmetic(
    name: &'static str,
    neutral: NeutralValues,
    consequence: &'static str,
) -> UnsupportedSetting {
    UnsupportedSetting { name, level: Level::Cosmetic, neutral, consequence }
}

/// How many bytes of a value a report shows.
const SHOWN: usize = 80;

/// A value in quotes, shortened if it is long, as snippets are.
fn quoted(value: &str) -> String {
    let value = value.trim();
    if value.len() <= SHOWN {
        return format!("{value:?}");
    }
    let end = (0..=SHOWN).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    format!("{:?}", format!("{}…", &value[..end]))
}

/// "is not known", with the name that was probably meant.
pub(crate) fn unknown_name<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    // Names of very different length are not similar, and comparing long names is expensive.
    let closest = known
        .filter(|known| known.len().abs_diff(name.len()) <= 3)
        .map(|known| (strsim::levenshtein(name, known), known))
        .min();
    match closest {
        Some((0..=3, known)) => format!("is not known; did you mean {known}?"),
        _ => "is not known".into(),
    }
}

/// As Go's `strconv.ParseBool`.
pub fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_values_are_recognised() {
        use NeutralValues::{False, OnlyEmpty, True, Words};
        for (neutral, value, contained) in [
            (OnlyEmpty, "", true),
            (OnlyEmpty, "  ", true),
            (OnlyEmpty, "0", false),
            (False, "false", true),
            (False, "F", true),
            (False, "no", false),
            (False, "true", false),
            (True, "1", true),
            (True, "false", false),
            (Words(&["off", "on"]), " OFF ", true),
            (Words(&["off", "on"]), "of", false),
        ] {
            assert_eq!(neutral.contain(value), contained, "{neutral:?} {value:?}");
        }
    }

    #[test]
    fn a_long_value_is_shortened() {
        let setting = closed("server-snippet", NeutralValues::OnlyEmpty, "a rule in it would not be applied");
        let explanation = setting.explain(&"ä".repeat(500)).expect("it is not neutral");
        assert!(explanation.len() < 200 && explanation.contains('…'), "{explanation}");
        assert_eq!(setting.explain(" "), None);
    }
}
