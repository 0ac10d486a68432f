//! The gate: a latch that stops every sink.

use std::sync::OnceLock;

/// Open until someone trips it; then shut for good. Looking at it costs one atomic load.
#[derive(Debug, Default)]
pub struct Gate {
    reason: OnceLock<String>,
}

/// The gate is shut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Tripped {
    /// What the first one to trip it said.
    pub reason: String,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Shuts the gate. The first reason stays; says whether this was the first.
    pub fn trip(&self, reason: impl Into<String>) -> bool {
        self.reason.set(reason.into()).is_ok()
    }

    /// Whether it is still open.
    pub fn is_open(&self) -> bool {
        self.reason.get().is_none()
    }

    /// `Ok` while it is open.
    ///
    /// # Errors
    /// [`Tripped`] with the first reason.
    pub fn check(&self) -> Result<(), Tripped> {
        match self.reason.get() {
            None => Ok(()),
            Some(reason) => Err(Tripped { reason: reason.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let gate = Gate::new();
        assert!(gate.is_open() && gate.check().is_ok());
        assert!(gate.trip("rules gone"));
        assert!(!gate.trip("something later"));
        assert_eq!(gate.check().unwrap_err().to_string(), "rules gone");
        assert!(!gate.is_open());
    }
}
