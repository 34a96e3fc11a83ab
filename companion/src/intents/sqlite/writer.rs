//! The one writer of the ledger: takes all changes that wait into one transaction, and answers when it is on disk.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot, watch};

use super::accept::{self, Accept};
use crate::{
    intents::{Accepted, counts::Counts},
    store::{Pending, StoreError},
};

/// Changes that go into one transaction at most.
const BATCH: usize = 256;
/// While there are commits, their log is moved to its place this often.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);

/// What changes are made to: a transaction, and the counts as they are within it.
pub struct Book<'c> {
    pub connection: &'c mut SqliteConnection,
    pub counts: Counts,
}

/// A change of the ledger. It may be carried out again after a transaction that was rolled back.
pub trait Change: Send + Sync + 'static {
    /// What it comes to.
    type Output: Send + 'static;

    /// Makes the change.
    fn make<'a>(&'a self, book: &'a mut Book<'_>) -> Pending<'a, Self::Output>;
}

/// Who waits for what becomes of something.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A change whose maker waits for it.
pub struct Ticket<C: Change> {
    change: C,
    answer: Answer<C::Output>,
    output: Option<C::Output>,
}

impl<C: Change> Ticket<C> {
    /// What it comes to goes to `answer`.
    pub fn new(change: C, answer: Answer<C::Output>) -> Self {
        Self { change, answer, output: None }
    }
}

/// A ticket, whatever its change.
pub trait Work: Send {
    /// Makes the change.
    fn work<'a>(&'a mut self, book: &'a mut Book<'_>) -> Pending<'a, ()>;

    /// Answers, now that the transaction is on disk, or is not.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

impl<C: Change> Work for Ticket<C> {
    fn work<'a>(&'a mut self, book: &'a mut Book<'_>) -> Pending<'a, ()> {
        Box::pin(async move {
            self.output = Some(self.change.make(book).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        answer(self.answer, self.output, committed);
    }
}

fn answer<T>(answer: Answer<T>, output: Option<T>, committed: Result<(), StoreError>) {
    // Who does not wait any more has got no promise either.
    let _ = answer.send(committed.and_then(|()| output.ok_or(StoreError::WriterGone)));
}

/// An intent that is offered, whose maker waits for what becomes of it.
pub struct Offered {
    accept: Accept,
    answer: Answer<Accepted>,
    accepted: Option<Accepted>,
}

/// What waits for the writer.
pub enum Waiting {
    /// An intent to be stored, together with those beside it.
    Intent(Box<Offered>),
    /// Any other change.
    Other(Box<dyn Work>),
}

impl Waiting {
    /// What becomes of the intent goes to `answer`.
    pub fn intent(accept: Accept, answer: Answer<Accepted>) -> Self {
        Self::Intent(Box::new(Offered { accept, answer, accepted: None }))
    }

    fn answer(self, committed: Result<(), StoreError>) {
        match self {
            Self::Intent(offered) => answer(offered.answer, offered.accepted, committed),
            Self::Other(work) => work.answer(committed),
        }
    }
}

/// Writes what comes through `queue`, until nobody can send any more.
pub async fn write(
    pool: SqlitePool,
    mut queue: mpsc::Receiver<Waiting>,
    counts: Arc<Mutex<Counts>>,
    committed: watch::Sender<()>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // While one transaction is synced, the next ones wait: that is what makes batches.
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let result = commit(&pool, &mut batch, &counts).await;
        committed.send_replace(());
        if result.is_err() && batch.len() > 1 {
            // One of them may be to blame, and the others shall not suffer for it: each for itself.
            for mut ticket in batch.drain(..) {
                let result = commit(&pool, std::slice::from_mut(&mut ticket), &counts).await;
                ticket.answer(result);
            }
            continue;
        }
        let mut error = result.err();
        for ticket in batch.drain(..) {
            // With an error there is only one.
            ticket.answer(error.take().map_or(Ok(()), Err));
        }
    }
}

/// Moves what is committed from the log to its place, so that those who commit need not wait for it; until
/// nobody commits any more.
pub async fn checkpoint(pool: SqlitePool, mut commits: watch::Receiver<()>) {
    while commits.changed().await.is_ok() {
        // What is not moved now is moved the next time.
        match sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&pool).await {
            Ok(_) => {}
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::debug!(%error, "the log was not moved to its place"),
        }
        tokio::time::sleep(CHECKPOINT_EVERY).await;
    }
}

async fn commit(pool: &SqlitePool, batch: &mut [Waiting], counts: &Mutex<Counts>) -> Result<(), StoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let before = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut book = Book { connection: &mut tx, counts: before };
    let both_are_intents =
        |one: &Waiting, next: &Waiting| matches!((one, next), (Waiting::Intent(_), Waiting::Intent(_)));
    for run in batch.chunk_by_mut(both_are_intents) {
        make(&mut book, run).await?;
    }
    let after = book.counts;
    tx.commit().await?;
    *counts.lock().unwrap_or_else(PoisonError::into_inner) = after;
    Ok(())
}

/// Makes one change, or stores intents that wait one behind the other.
async fn make(book: &mut Book<'_>, run: &mut [Waiting]) -> Result<(), StoreError> {
    let (mut offered, mut results) = (Vec::with_capacity(run.len()), Vec::with_capacity(run.len()));
    for waiting in run {
        match waiting {
            Waiting::Intent(intent) => {
                let Offered { accept, accepted, .. } = &mut **intent;
                offered.push(&*accept);
                results.push(accepted);
            }
            Waiting::Other(work) => work.work(book).await?,
        }
    }
    for (result, accepted) in results.into_iter().zip(accept::accept(book, &offered).await?) {
        *result = Some(accepted);
    }
    Ok(())
}
