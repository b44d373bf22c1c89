//! Batches whose entries are answered one by one.

use std::future::Future;
use std::sync::Arc;

use aws_sdk_sqs::types::BatchResultErrorEntry;
use worker::QueueError;
use worker::queue::PerEntry;

use super::{SqsQueue, queue_error};
use crate::failed::{Failed, Kind};

/// Answers with the indices of their entries.
pub(super) type Answers = Vec<(usize, Result<(), QueueError>)>;

/// What one request said about the entries of a batch, by their indices.
#[derive(Default)]
pub(super) struct Answered {
    done: Vec<usize>,
    failed: Vec<(usize, BatchResultErrorEntry)>,
}

impl Answered {
    pub(super) fn new<'a>(done: impl Iterator<Item = &'a str>, failed: &[BatchResultErrorEntry]) -> Self {
        let failed = failed.iter().filter_map(|entry| Some((entry.id.parse().ok()?, entry.clone())));
        Self { done: done.filter_map(|id| id.parse().ok()).collect(), failed: failed.collect() }
    }
}

impl SqsQueue {
    /// The answers for `entries` of a batch, given by their indices; each tried again while it fails temporarily and the budget
    /// allows. An error means that no entry was answered at all.
    pub(super) async fn batch<F: Future<Output = Result<Answered, Failed>>>(
        &self,
        entries: Vec<usize>,
        request: impl Fn(Vec<usize>) -> F,
    ) -> Result<Answers, QueueError> {
        let retry = &self.sqs.0.retry;
        let (mut answers, mut open) = (Vec::with_capacity(entries.len()), entries);
        let mut tries = retry.tries();
        while !open.is_empty() {
            let failed = match retry.one_try(request(open.clone())).await {
                Ok(answered) => {
                    let before = open.len();
                    let failed = self.sort(answered, &mut open, &mut answers);
                    if open.len() < before {
                        tries.progressed();
                    }
                    if failed.kind == Kind::Throttled {
                        retry.throttled();
                    }
                    failed
                }
                Err(failed) => failed,
            };
            let again = open.is_empty() || (failed.kind.is_temporary() && tries.again().await);
            if !again {
                if answers.is_empty() {
                    return Err(queue_error(&self.name, failed));
                }
                let cause: Arc<dyn std::error::Error + Send + Sync> = failed.source.into();
                answers.extend(open.drain(..).map(|entry| {
                    let failed = Failed { source: Box::new(Arc::clone(&cause)), code: failed.code.clone(), ..failed };
                    (entry, Err(queue_error(&self.name, failed)))
                }));
            }
        }
        Ok(answers)
    }

    /// Takes what is answered for good out of `open`, and says why the rest is not.
    fn sort(&self, answered: Answered, open: &mut Vec<usize>, answers: &mut Answers) -> Failed {
        let mut why =
            Failed { kind: Kind::Unavailable, code: String::new(), source: "entries were not answered".into() };
        answers.extend(answered.done.iter().map(|entry| (*entry, Ok(()))));
        for (index, entry) in answered.failed {
            let source = format!("{}: {}", entry.code, entry.message.as_deref().unwrap_or_default());
            let failed = Failed { kind: entry_kind(&entry), code: entry.code, source: source.into() };
            if failed.kind.is_temporary() {
                why = failed;
            } else {
                answers.push((index, Err(queue_error(&self.name, failed))));
            }
        }
        open.retain(|entry| !answers.iter().any(|(answered, _)| answered == entry));
        why
    }
}

/// Answers in the order of the entries.
pub(super) fn in_order(mut answers: Answers) -> PerEntry {
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What the failure of an entry means. Whether an error is the sender's is all that SQS promises to tell.
fn entry_kind(entry: &BatchResultErrorEntry) -> Kind {
    match Kind::of(&entry.code, 0) {
        Kind::Refused if !entry.sender_fault => Kind::Unavailable,
        kind => kind,
    }
}
