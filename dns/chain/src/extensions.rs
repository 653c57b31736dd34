//! Values that plugins attach to a query for other plugins.

use std::any::{Any, TypeId};
use std::sync::Arc;

/// Values by type. Holds no memory while it is empty.
#[derive(Clone, Default)]
pub struct Extensions(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl Extensions {
    /// Attaches a value in place of one of the same type. A value that exists already is attached without an allocation.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: Arc<T>) {
        let key = TypeId::of::<T>();
        self.0.retain(|(known, _)| *known != key);
        self.0.push((key, value));
    }

    /// The value of a type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let key = TypeId::of::<T>();
        self.0.iter().find(|(known, _)| *known == key).and_then(|(_, value)| value.downcast_ref())
    }

    /// Removes the value of a type.
    pub fn remove<T: Any + Send + Sync>(&mut self) {
        let key = TypeId::of::<T>();
        self.0.retain(|(known, _)| *known != key);
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all values. The memory of the list is kept for the next query.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_replaces_one_of_the_same_type_only() {
        let mut extensions = Extensions::default();
        extensions.insert(Arc::new(1_u8));
        extensions.insert(Arc::new("text"));
        extensions.insert(Arc::new(2_u8));
        assert_eq!((extensions.get::<u8>(), extensions.get::<&str>()), (Some(&2), Some(&"text")));
        extensions.clear();
        assert!(extensions.is_empty() && extensions.get::<u8>().is_none());
    }
}
