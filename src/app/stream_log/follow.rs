//! Following a log: the ledger takes over every entry that it does not know yet, each one proven first.

use super::StreamLog;
use crate::app::log_walk::Walk;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{EntryBody, SealedEntry};

/// Entries taken over in one transaction.
const BATCH: usize = 200;

impl StreamLog {
    /// Takes over every entry that the ledger does not know yet.
    ///
    /// # Errors
    /// When an entry is missing, does not belong where it stands, or is not signed as it must be; or the store or the
    /// ledger fails.
    pub async fn follow(&self) -> Result<(), Failure> {
        let known = self.state().await?;
        let mut walk = Walk::new(&self.reader, known.as_ref(), self.signing.as_deref());
        let mut batch = Vec::new();
        let mut newest = None;
        while let Some(proven) = walk.next().await? {
            // Without a key nobody can tell a forged entry of a signed log from a true one.
            if self.signing.is_none() && proven.entry.entry().writer.key_fingerprint.is_some() {
                return Err(self.without_key());
            }
            batch.extend(newest.replace(proven).map(|proven| proven.entry));
            if batch.len() == BATCH {
                self.take_over(&mut batch).await?;
            }
        }
        self.take_over(&mut batch).await?;
        if let Some(newest) = newest {
            // Its writer may have died, or been held up, between putting it and finding it without its lock.
            let asked = &newest.entry.entry().lock;
            self.locks.check_entry(&newest.key, asked, &newest.lock, self.watch.clock().now()).await?;
            self.take_over(&mut vec![newest.entry]).await?;
        }
        self.sign_from_here().await
    }

    /// A daemon with a key has followed the log to its end: what comes later must be signed.
    async fn sign_from_here(&self) -> Result<(), Failure> {
        if self.signing.is_some() && self.state().await?.is_some_and(|state| !state.signed) {
            self.ledger.must_be_signed(&self.stream).await?;
        }
        Ok(())
    }

    async fn take_over(&self, batch: &mut Vec<SealedEntry>) -> Result<(), Failure> {
        self.ledger.apply(&self.stream, batch).await?;
        for entry in batch.drain(..) {
            if let EntryBody::Archived(archived) = &entry.entry().body {
                tracing::info!(
                    stream = %self.stream,
                    window = %archived.window,
                    seq = entry.entry().seq.get(),
                    "window is in the log already"
                );
            }
        }
        Ok(())
    }
}
