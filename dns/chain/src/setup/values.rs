//! Values that plugins share: with later configurations, and with the other plugins of a server block.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Values of plugins by their type that exist once in the process, over all configurations.
#[derive(Clone, Default)]
pub struct SharedValues(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl SharedValues {
    /// The value of a type. The first call creates it.
    pub fn get<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        value.downcast().unwrap_or_default()
    }
}

/// What the plugins of a server block offer each other, by type.
#[derive(Default)]
pub(crate) struct Offers(HashMap<TypeId, Vec<Arc<dyn Any + Send + Sync>>>);

impl Offers {
    /// Adds a value after the others of its type.
    pub(super) fn add<T: Any + Send + Sync>(&mut self, value: Arc<T>) {
        self.0.entry(TypeId::of::<T>()).or_default().push(value);
    }
}

/// The offers of a type by all plugins of a server block. Empty until the whole block has been set up.
pub struct Wanted<T> {
    offers: Arc<OnceLock<Offers>>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Any + Send + Sync> Wanted<T> {
    pub(super) fn new(offers: Arc<OnceLock<Offers>>) -> Self {
        Self { offers, kind: PhantomData }
    }

    /// The offers, in the order of the plugins.
    pub fn get(&self) -> Vec<Arc<T>> {
        let offers = self.offers.get().and_then(|offers| offers.0.get(&TypeId::of::<T>()));
        let offers = offers.into_iter().flatten();
        offers.filter_map(|offer| offer.clone().downcast().ok()).collect()
    }
}
