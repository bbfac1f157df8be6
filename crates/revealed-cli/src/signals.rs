//! SIGINT and SIGTERM: the first lets a run finish its step and save, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use revealed::train::{At, Event, Observer, TrainError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use thiserror::Error;

/// Hears signals; as an [`Observer`] it stops the run after one.
#[derive(Debug, Clone)]
pub struct Signals {
    /// The last signal; 0 before there is one.
    last: Arc<AtomicUsize>,
}

/// A run that a signal has stopped.
#[derive(Debug, Error)]
#[error("stopped by a signal after {at}; its state is saved, go on with --resume")]
pub struct Stopped {
    at: At,
    /// 130 for SIGINT, 143 for SIGTERM, as shells give it.
    pub exit_code: u8,
}

impl Signals {
    /// From here on.
    pub fn listen() -> Result<Self> {
        let (last, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds it not armed, and arms it for the second.
            flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())
                .and_then(|_| flag::register(signal, armed.clone()))
                .and_then(|_| flag::register_usize(signal, last.clone(), signal as usize))
                .context("signal handlers")?;
        }
        Ok(Self { last })
    }

    /// The error that tells of the signal, where that is why the run has ended.
    pub fn explain(&self, error: TrainError) -> anyhow::Error {
        match error {
            TrainError::Interrupted { at } => {
                let exit_code = 128 + self.last.load(Ordering::Relaxed) as u8;
                Stopped { at, exit_code }.into()
            }
            error => error.into(),
        }
    }
}

impl Observer for Signals {
    fn observe(&mut self, _event: &Event<'_>) {}

    fn stops(&self) -> bool {
        self.last.load(Ordering::Relaxed) != 0
    }
}
