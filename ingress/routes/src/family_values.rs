//! Settings of annotation families, each of a type that only its family knows.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// What a family keeps for an Ingress or for the ConfigMap. Implemented by every plain value.
pub trait FamilyValue: Any + Debug + Send + Sync {
    /// Whether the other is of the same type and equal.
    fn equals(&self, other: &dyn FamilyValue) -> bool;
}

impl<T: Any + Debug + PartialEq + Send + Sync> FamilyValue for T {
    fn equals(&self, other: &dyn FamilyValue) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
}

/// At most one value of each type.
#[derive(Clone, Debug, Default)]
pub struct FamilyValues(Vec<Arc<dyn FamilyValue>>);

impl FamilyValues {
    /// The value of a type.
    pub fn get<T: FamilyValue>(&self) -> Option<&T> {
        self.0.iter().find_map(|value| (&**value as &dyn Any).downcast_ref())
    }

    /// Removes the value of a type.
    pub fn take<T: FamilyValue + Clone>(&mut self) -> Option<T> {
        let value = self.get().cloned();
        self.0.retain(|known| !(&**known as &dyn Any).is::<T>());
        value
    }

    /// Stores a value; replaces the one of the same type.
    pub fn set<T: FamilyValue>(&mut self, value: T) {
        self.0.retain(|known| !(&**known as &dyn Any).is::<T>());
        self.0.push(Arc::new(value));
    }
}

/// The same values, in any order.
impl PartialEq for FamilyValues {
    fn eq(&self, other: &Self) -> bool {
        let has = |value: &Arc<dyn FamilyValue>| other.0.iter().any(|known| known.equals(&**value));
        self.0.len() == other.0.len() && self.0.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_value() {
        let (mut one, mut other) = <(FamilyValues, FamilyValues)>::default();
        one.set(1_u8);
        one.set(2_u8);
        one.set("x");
        assert_eq!((one.get::<u8>(), one.get::<&str>(), one.get::<u16>()), (Some(&2), Some(&"x"), None));
        other.set("x");
        assert_ne!(one, other);
        other.set(3_u8);
        assert_ne!(one, other);
        other.set(2_u8);
        assert_eq!(one, other);
    }
}
