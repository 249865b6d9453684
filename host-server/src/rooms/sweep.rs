//! Removing images that no message has: of messages that histories do not keep any more, and of those
//! that never came to be because the server was killed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::hall::Hall;
use super::images::Hash;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(600);
/// What is younger may be of a message that is not committed yet.
const YOUNG: Duration = Duration::from_secs(120);

/// Looks when the server starts, and then every now and then.
pub(super) async fn run(hall: Arc<Hall>) {
    loop {
        if sweep(&hall).await.is_none() {
            tracing::warn!("cannot tell which images are in use: all stay");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// `None`: which images messages have cannot be told.
async fn sweep(hall: &Hall) -> Option<()> {
    // First these, so that what comes meanwhile is not among them.
    let images = Arc::clone(&hall.images);
    let list = tokio::task::spawn_blocking(move || images.list(YOUNG)).await.ok()?.ok()?;
    let mut unused: HashSet<Hash> = list.into_iter().collect();
    let mut after = None;
    while !unused.is_empty() {
        let (told, answer) = oneshot::channel();
        let answer_to = Box::new(move |used| {
            // Who asked may have gone.
            let _ = told.send(used);
        });
        hall.index.used(after, answer_to);
        let used: Vec<Hash> = answer.await.ok()??;
        let Some(last) = used.last() else { break };
        after = Some(*last);
        for hash in &used {
            unused.remove(hash);
        }
    }
    if !unused.is_empty() {
        tracing::info!(images = unused.len(), "removed images that no message has");
    }
    let images = Arc::clone(&hall.images);
    let remove = move || unused.into_iter().for_each(|hash| images.removed(hash));
    tokio::task::spawn_blocking(remove).await.ok()
}
