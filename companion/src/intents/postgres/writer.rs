//! The writer of the ledger: takes all changes that wait into one transaction, and answers when it is on disk.

use sqlx::{PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};

use crate::store::{Pending, StoreError};

/// Changes that go into one transaction at most.
const BATCH: usize = 256;

/// A change of the ledger. It may be carried out again after a transaction that was rolled back.
pub trait Change: Send + Sync + 'static {
    /// What it comes to.
    type Output: Send + 'static;

    /// Makes the change.
    fn make<'a>(&'a self, connection: &'a mut PgConnection) -> Pending<'a, Self::Output>;
}

/// A change whose maker waits for it.
pub struct Ticket<C: Change> {
    change: C,
    answer: oneshot::Sender<Result<C::Output, StoreError>>,
    output: Option<C::Output>,
}

impl<C: Change> Ticket<C> {
    /// What it comes to goes to `answer`.
    pub fn new(change: C, answer: oneshot::Sender<Result<C::Output, StoreError>>) -> Self {
        Self { change, answer, output: None }
    }
}

/// A ticket, whatever its change.
pub trait Work: Send {
    /// Makes the change.
    fn work<'a>(&'a mut self, connection: &'a mut PgConnection) -> Pending<'a, ()>;

    /// Answers, now that the transaction is on disk, or is not.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

impl<C: Change> Work for Ticket<C> {
    fn work<'a>(&'a mut self, connection: &'a mut PgConnection) -> Pending<'a, ()> {
        Box::pin(async move {
            self.output = Some(self.change.make(connection).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { answer, output, .. } = *self;
        // Who does not wait any more has got no promise either.
        let _ = answer.send(committed.and_then(|()| output.ok_or(StoreError::WriterGone)));
    }
}

/// Writes what comes through `queue`, until nobody can send any more.
pub async fn write(pool: PgPool, mut queue: mpsc::Receiver<Box<dyn Work>>) {
    let mut batch = Vec::with_capacity(BATCH);
    // While one transaction is synced, the next ones wait: that is what makes batches.
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let committed = commit(&pool, &mut batch).await;
        if committed.is_err() && batch.len() > 1 {
            // One of them may be to blame, and the others shall not suffer for it: each for itself.
            for mut ticket in batch.drain(..) {
                let committed = commit(&pool, std::slice::from_mut(&mut ticket)).await;
                ticket.answer(committed);
            }
            continue;
        }
        let mut error = committed.err();
        for ticket in batch.drain(..) {
            // With an error there is only one.
            ticket.answer(error.take().map_or(Ok(()), Err));
        }
    }
}

async fn commit(pool: &PgPool, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    // One companion after the other: places are given in the order of commits, and whose turn a line's is cannot
    // change between a look and what follows from it. Batches make up for what that costs.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('quiesce ledger ' || current_schema(), 0))")
        .execute(&mut *tx)
        .await?;
    for ticket in batch {
        ticket.work(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
