//! SIGINT, SIGTERM and SIGHUP: the first lets a run finish its step and save, or a judge its
//! answers; the second ends the program at once. Under `nohup`, which starts a program with SIGHUP
//! ignored, SIGHUP stays ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use revealed::eval::EvalError;
use revealed::eval::judge::JudgeError;
use revealed::train::{Event, Observer, TrainError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use thiserror::Error;

/// SIGHUP, which the system sends when a terminal or an SSH connection closes; nothing where it is
/// ignored.
#[cfg(unix)]
fn hangup() -> Option<i32> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    #[allow(unsafe_code)]
    // Sound: with a null pointer for the new action the call only writes the current one, and
    // zeroes are a valid one.
    let current = unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), current.as_mut_ptr());
        current.assume_init()
    };
    (current.sa_sigaction != libc::SIG_IGN).then_some(libc::SIGHUP)
}

#[cfg(not(unix))]
fn hangup() -> Option<i32> {
    None
}

/// Hears signals; as an [`Observer`] it stops the run after one.
#[derive(Debug, Clone)]
pub struct Signals {
    /// The last signal; 0 before there is one.
    last: Arc<AtomicUsize>,
    /// Whether there was one.
    heard: Arc<AtomicBool>,
}

/// A run that a signal has stopped.
#[derive(Debug, Error)]
#[error("stopped by a signal{rest}")]
pub struct Stopped {
    /// What was done, and how to go on.
    rest: String,
    /// 128 and the signal's number, as shells give it: 129 for SIGHUP, 130 for SIGINT, 143 for
    /// SIGTERM.
    pub exit_code: u8,
}

impl Signals {
    /// From here on.
    pub fn listen() -> Result<Self> {
        let (last, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup()) {
            // In this order: the first signal finds it not armed, and arms it for the second.
            flag::register_conditional_shutdown(signal, 128 + signal, heard.clone())
                .and_then(|_| flag::register(signal, heard.clone()))
                .and_then(|_| flag::register_usize(signal, last.clone(), signal as usize))
                .context("signal handlers")?;
        }
        Ok(Self { last, heard })
    }

    /// The error that tells of the signal, where that is why the run has ended.
    pub fn explain(&self, error: TrainError) -> anyhow::Error {
        match error {
            TrainError::Interrupted { at } => {
                self.stopped(format!(" after {at}; its state is saved, go on with --resume"))
            }
            error => error.into(),
        }
    }

    /// The same of judging, whose answers are kept as `kept` says.
    pub fn explain_judging(&self, error: EvalError, kept: String) -> anyhow::Error {
        match error {
            EvalError::Judge(JudgeError::Interrupted) => self.stopped(format!(": {kept}")),
            error => anyhow::Error::from(error).context(kept),
        }
    }

    fn stopped(&self, rest: String) -> anyhow::Error {
        let exit_code = 128 + self.last.load(Ordering::Relaxed) as u8;
        Stopped { rest, exit_code }.into()
    }

    /// True from the first signal on.
    pub fn heard(&self) -> Arc<AtomicBool> {
        self.heard.clone()
    }
}

impl Observer for Signals {
    fn observe(&mut self, _event: &Event<'_>) {}

    fn should_stop(&self) -> bool {
        self.last.load(Ordering::Relaxed) != 0
    }
}
