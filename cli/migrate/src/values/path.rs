//! The place of a value in a values file.

use std::fmt;

use serde_json::Value;

/// The steps from the root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValuePath(pub(super) Vec<PathStep>);

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathStep {
    /// A key of a map.
    Key(String),
    /// An item of a list.
    Item(usize),
}

impl ValuePath {
    /// The path of `a.b.c`; keys of the chart have no dots.
    pub(super) fn of(text: &str) -> Self {
        Self(text.split('.').map(|key| PathStep::Key(key.to_owned())).collect())
    }

    /// The path of a key below this one.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(PathStep::Key(key.to_owned()))
    }

    /// The path of an item below this one.
    pub(super) fn item(&self, index: usize) -> Self {
        self.with(PathStep::Item(index))
    }

    fn with(&self, step: PathStep) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path below its first step.
    pub(super) fn without_first(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// The path of the map or list that holds this value; `None` at the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, steps) = self.0.split_last()?;
        Some(Self(steps.to_vec()))
    }

    /// The value at this path.
    pub(super) fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            PathStep::Key(key) => value.get(key),
            PathStep::Item(index) => value.get(index),
        })
    }

    /// Removes the value at this path.
    pub(super) fn remove_from(&self, root: &mut Value) {
        let Some((last, steps)) = self.0.split_last() else { return };
        let holder = steps.iter().try_fold(root, |value, step| match step {
            PathStep::Key(key) => value.get_mut(key),
            PathStep::Item(index) => value.get_mut(index),
        });
        match (holder, last) {
            (Some(Value::Object(fields)), PathStep::Key(key)) => _ = fields.remove(key),
            (Some(Value::Array(items)), PathStep::Item(index)) if *index < items.len() => {
                _ = items.remove(*index)
            }
            _ => {}
        }
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Key(key) if position == 0 => f.write_str(key)?,
                PathStep::Key(key) => write!(f, ".{key}")?,
                PathStep::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
