//! The keys of the writes that are being stored at this moment.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Within what a key names one write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyScope {
    /// The surface.
    pub surface: String,
    /// Whose keys are shared.
    pub tenant: String,
    /// The key.
    pub key: String,
}

/// The keys in use. There are no more than requests at this moment.
#[derive(Clone, Debug, Default)]
pub struct Storing(Arc<Mutex<HashSet<KeyScope>>>);

/// A key in use, until this is dropped.
#[derive(Debug)]
pub struct InUse {
    keys: Storing,
    scope: KeyScope,
}

impl Storing {
    /// Takes a key into use, unless it is.
    pub fn take(&self, scope: KeyScope) -> Option<InUse> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = keys.insert(scope.clone());
        is_new.then(|| InUse { keys: self.clone(), scope })
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.scope);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(number: u8) -> KeyScope {
        let surface = if number.is_multiple_of(2) { "shop" } else { "docs" }.to_owned();
        KeyScope { surface, tenant: String::new(), key: (number / 2).to_string() }
    }

    proptest! {
        /// Keys are taken and let go of in any order; a model says who has which.
        #[test]
        fn a_key_has_one_holder(steps in prop::collection::vec((any::<bool>(), 0u8..8), 0..200)) {
            let keys = Storing::default();
            let mut held: Vec<Option<InUse>> = (0..8).map(|_| None).collect();
            for (take, number) in steps {
                let place = &mut held[usize::from(number)];
                if take {
                    let taken = keys.take(scope(number));
                    prop_assert_eq!(taken.is_some(), place.is_none());
                    if taken.is_some() {
                        *place = taken;
                    }
                } else {
                    *place = None;
                }
            }
            let count = held.iter().flatten().count();
            prop_assert_eq!(keys.0.lock().unwrap().len(), count);
            held.clear();
            prop_assert!(keys.0.lock().unwrap().is_empty());
        }
    }
}
