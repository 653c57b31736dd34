//! Functions that look at each value of an array, such as `any(list, # == 1)`.

use super::{EvalError, ExprValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predicate {
    All,
    Any,
    None,
    One,
    Filter,
    Map,
    Count,
    Find,
    FindIndex,
}

/// The functions by name.
pub(super) const PREDICATES: &[(&str, Predicate)] = &[
    ("all", Predicate::All),
    ("any", Predicate::Any),
    ("none", Predicate::None),
    ("one", Predicate::One),
    ("filter", Predicate::Filter),
    ("map", Predicate::Map),
    ("count", Predicate::Count),
    ("find", Predicate::Find),
    ("findIndex", Predicate::FindIndex),
];

pub(super) fn is_known(name: &str) -> bool {
    PREDICATES.iter().any(|(known, _)| *known == name)
}

impl Predicate {
    /// The value for an array. `condition` gives the value of the condition for one of its values.
    pub(super) fn apply(
        self,
        list: &ExprValue,
        mut condition: impl FnMut(&ExprValue) -> Result<ExprValue, EvalError>,
    ) -> Result<ExprValue, EvalError> {
        let (mut kept, mut count) = (Vec::new(), 0_i64);
        for (at, value) in list.list()?.iter().enumerate() {
            let found = condition(value)?;
            if self == Self::Map {
                kept.push(found);
                continue;
            }
            let is_true = found.truth()?;
            match self {
                Self::All if !is_true => return Ok(ExprValue::Bool(false)),
                Self::Any if is_true => return Ok(ExprValue::Bool(true)),
                Self::None if is_true => return Ok(ExprValue::Bool(false)),
                Self::Find if is_true => return Ok(value.clone()),
                Self::FindIndex if is_true => return Ok(ExprValue::Int(at as i64)),
                Self::Filter if is_true => kept.push(value.clone()),
                _ => {}
            }
            count += i64::from(is_true);
        }
        Ok(match self {
            Self::All | Self::None => ExprValue::Bool(true),
            Self::Any => ExprValue::Bool(false),
            Self::One => ExprValue::Bool(count == 1),
            Self::Filter | Self::Map => ExprValue::List(kept),
            Self::Count => ExprValue::Int(count),
            Self::Find | Self::FindIndex => ExprValue::Nil,
        })
    }
}
