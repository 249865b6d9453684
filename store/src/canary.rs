//! Defects on purpose, to prove that the tests see them. They exist in debug builds alone, and only
//! where the environment asks for one.

/// The variable that asks for a defect.
#[cfg(debug_assertions)]
const VARIABLE: &str = "CENTRALA_STORE_CANARY";

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    /// A commit is acknowledged before it is made.
    AcknowledgeEarly,
    /// A commit is made and acknowledged, but not forced to the disk.
    SkipSync,
    /// Rows are believed without their checksums.
    SkipChecksum,
}

/// The defect asked for.
#[cfg(debug_assertions)]
pub(crate) fn asked() -> Option<Canary> {
    use std::sync::OnceLock;
    static ASKED: OnceLock<Option<Canary>> = OnceLock::new();
    *ASKED.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
        Ok("acknowledge-early") => Some(Canary::AcknowledgeEarly),
        Ok("skip-sync") => Some(Canary::SkipSync),
        Ok("skip-checksum") => Some(Canary::SkipChecksum),
        _ => None,
    })
}

/// No defect in a release build.
#[cfg(not(debug_assertions))]
pub(crate) const fn asked() -> Option<Canary> {
    None
}
