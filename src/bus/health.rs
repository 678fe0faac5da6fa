//! How the loops are doing, for `/readyz` and the metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// What is wrong with each part of the process right now; nothing is the normal state. A standard mutex, since it is held
/// for a map access only.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Health {
    /// Says that a part works.
    pub fn good(&self, part: &'static str) {
        self.lock().insert(part, None);
    }

    /// Says what is wrong with a part.
    pub fn bad(&self, part: &'static str, problem: impl ToString) {
        self.lock().insert(part, Some(problem.to_string()));
    }

    /// One line for each part that does not work.
    pub fn problems(&self) -> Vec<String> {
        self.lock().iter().filter_map(|(part, problem)| Some(format!("{part}: {}", problem.as_ref()?))).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
