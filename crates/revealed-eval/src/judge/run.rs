//! Many requests, several at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::{Ask, JudgeClient, JudgeError, Reply};
use crate::error::EvalError;

/// So many failed requests in a row end a run: the next ones will hardly fare better.
pub const FAILED_IN_A_ROW: usize = 5;

/// Asks about all jobs, `concurrency` at a time, and hands each outcome over on the caller's thread, in the order in
/// which they come. After an error that [ends the run](JudgeError::ends_the_run), or [`FAILED_IN_A_ROW`] others, or
/// one of `each`, or once the client [is stopped](JudgeClient::stopped_by), no new request is made; answers to those under way are still handed over, for they are paid for.
///
/// # Errors
/// Whatever ended the run.
pub fn ask_all<J: Sync>(
    client: &JudgeClient,
    jobs: &[J],
    ask: impl Fn(&J) -> &Ask + Sync,
    mut each: impl FnMut(&J, Result<Reply, JudgeError>) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    let (next, in_a_row) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stopped = AtomicBool::new(false);
    // Without room for outcomes: nobody asks on while the one before is not yet written down.
    let (sender, outcomes) = mpsc::sync_channel(0);
    let work = |sender: mpsc::SyncSender<_>| {
        while !stopped.load(Ordering::Relaxed)
            && !client.is_stopped()
            && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let outcome = client.ask(ask(job));
            let failed = match outcome {
                Ok(_) => {
                    in_a_row.store(0, Ordering::Relaxed);
                    0
                }
                Err(_) => in_a_row.fetch_add(1, Ordering::Relaxed) + 1,
            };
            let fatal = outcome.as_ref().is_err_and(JudgeError::ends_the_run);
            if fatal || failed >= FAILED_IN_A_ROW {
                stopped.store(true, Ordering::Relaxed);
            }
            if sender.send((job, outcome, failed)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..client.settings().concurrency.min(jobs.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        let (mut ended, mut count) = (Ok(()), 0);
        for (job, outcome, failed) in outcomes {
            count += 1;
            let fatal = hand_over(outcome, failed, |outcome| each(job, outcome));
            if fatal.is_err() {
                stopped.store(true, Ordering::Relaxed);
                ended = ended.and(fatal);
            }
        }
        match client.is_stopped() && count < jobs.len() {
            true => ended.and(Err(JudgeError::Interrupted.into())),
            false => ended,
        }
    })
}

/// Gives an outcome to `each`, unless it ends the run.
///
/// # Errors
/// Those of `each`, and the error that ends the run.
fn hand_over(
    outcome: Result<Reply, JudgeError>,
    failed_in_a_row: usize,
    each: impl FnOnce(Result<Reply, JudgeError>) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    match outcome {
        Err(error) if error.ends_the_run() => Err(error.into()),
        Err(error) if failed_in_a_row >= FAILED_IN_A_ROW => {
            let ending = JudgeError::InARow { count: failed_in_a_row, last: error.to_string() };
            each(Err(error)).and(Err(ending.into()))
        }
        outcome => each(outcome),
    }
}
