//! What is done beside the sending: intents are read before it, and concluded after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri};

use super::request::request;
use crate::{
    clock,
    error::ServiceError,
    intents::{Conclusion, IntentRecord, SealError},
    service::Service,
};

/// After a failure of the ledger the next try waits this long.
const PAUSE: Duration = Duration::from_secs(1);

/// An intent that is ready to be sent.
pub struct Job {
    pub record: Box<IntentRecord>,
    pub request: Request<Full<Bytes>>,
    /// Sent later, its claim might end before its conclusion is on disk.
    pub not_after: Instant,
}

/// What reading an intent came to.
pub enum Prepared {
    Ready(Box<Job>),
    /// It cannot be sent, now or ever.
    Broken(Box<IntentRecord>, String),
    /// It cannot be read until an operator has done something, and others cannot either.
    Unreadable(Box<IntentRecord>, String),
    /// The ledger fails for now.
    Unavailable(Box<IntentRecord>, ServiceError),
}

/// Reads an intent and makes the request that is sent.
pub async fn prepare(
    service: Arc<Service>,
    target: Uri,
    record: Box<IntentRecord>,
    not_after: Instant,
) -> Prepared {
    let (head, body) = match service.unsealed(&record.id).await {
        Ok(Some(unsealed)) => unsealed,
        Ok(None) => return Prepared::Broken(record, "what it holds is gone".to_owned()),
        Err(error @ ServiceError::Seal(SealError::Changed(_))) => {
            return Prepared::Broken(record, error.to_string());
        }
        Err(error @ ServiceError::Seal(_)) => return Prepared::Unreadable(record, error.to_string()),
        Err(error) => return Prepared::Unavailable(record, error),
    };
    match request(&target, &record, &head, body) {
        Ok(request) => Prepared::Ready(Box::new(Job { record, request, not_after })),
        Err(error) => Prepared::Broken(record, error.to_string()),
    }
}

/// Puts on disk what became of an intent, with patience.
pub async fn settle(
    service: Arc<Service>,
    record: Box<IntentRecord>,
    conclusion: Conclusion,
    until: Instant,
) {
    loop {
        let (id, owner) = (record.id.clone(), service.backfill.owner.clone());
        match service.ledger.conclude(id, owner, conclusion.clone(), clock::now()).await {
            Ok(true) => return,
            Ok(false) => {
                return tracing::warn!(id = %record.id, "somebody else has taken this intent over");
            }
            Err(error) if Instant::now() < until => {
                tracing::error!(%error, id = %record.id, "a replay could not be concluded");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                return tracing::error!(
                    %error, id = %record.id,
                    "a replay could not be concluded, and is made again with the same key"
                );
            }
        }
    }
}
