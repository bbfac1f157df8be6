//! Progress of an evaluation, for a bar or a log of the caller.

/// Work done in one stage of an evaluation.
///
/// Every stage reports `done = 0` first and `done = total` last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the stage, such as `rewardbench` or `sampling from the policy`.
    pub stage: &'a str,
    /// Questions, prompts or rows that are done.
    pub done: usize,
    /// Questions, prompts or rows of the stage.
    pub total: usize,
    /// Tokens that models read or generated in this stage, padding excluded; 0 for requests to a judge.
    pub tokens: usize,
}

/// Counts the work of one stage and reports it.
pub(crate) struct Stage<'a> {
    name: &'a str,
    total: usize,
    done: usize,
    tokens: usize,
    report: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a> Stage<'a> {
    /// Starts a stage of `total` items.
    pub fn start(name: &'a str, total: usize, report: &'a mut dyn FnMut(Progress<'_>)) -> Self {
        report(Progress { stage: name, done: 0, total, tokens: 0 });
        Self { name, total, done: 0, tokens: 0, report }
    }

    /// Adds finished items and the tokens that they took; 0 items are not reported.
    pub fn add(&mut self, items: usize, tokens: usize) {
        if items == 0 {
            return;
        }
        self.done += items;
        self.tokens += tokens;
        let Self { name: stage, total, done, tokens, .. } = *self;
        (self.report)(Progress { stage, done, total, tokens });
    }
}
