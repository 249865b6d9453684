//! Defects on purpose, to prove that the tests see them. They exist in debug builds alone.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Checksums are not looked at.
    SkipChecksum,
    /// The commit word is written before the record.
    CommitEarly,
    /// A sector is filled on after a start, as if nothing could have been cut short.
    AppendAfterStart,
    /// A sector is opened without copying what will be erased next.
    SkipCopies,
}

/// Which defect a store has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defects(#[cfg(debug_assertions)] Option<Defect>);

impl Defects {
    #[cfg(debug_assertions)]
    pub(crate) const fn of(defect: Defect) -> Defects {
        Defects(Some(defect))
    }

    #[cfg(debug_assertions)]
    pub(crate) fn has(self, defect: Defect) -> bool {
        self.0 == Some(defect)
    }

    /// No defect in a release build.
    #[cfg(not(debug_assertions))]
    pub(crate) const fn has(self, _: Defect) -> bool {
        false
    }
}
