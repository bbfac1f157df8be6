//! Progress on stderr: bars on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use revealed::train::{At, Event, Metric, Observer, RoundReport};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::output::note;
use crate::spark::spark;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Progress and notes.
    Normal,
    /// The libraries' log too, by phases.
    Verbose,
    /// And by steps.
    Debug,
}

impl Verbosity {
    /// From the command line.
    pub fn new(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            _ => Self::Debug,
        }
    }
}

/// Sends the libraries' log to stderr.
pub fn start_log(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::DEBUG,
    };
    // A second subscriber is refused; there is only one here.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Steps in a line of blocks.
const SPARK: usize = 16;
/// The figures that the live view follows, with the names it has room for.
const FOLLOWED: [(&str, &str); 6] = [
    ("loss", "loss"),
    ("rewards/accuracies", "accuracy"),
    ("objective/scores", "reward"),
    ("objective/kl", "KL"),
    ("completions/mean_length", "length"),
    ("completions/terminated", "ended"),
];

enum Form {
    Silent,
    Lines,
    Bars(Live),
}

/// What a terminal shows: a bar for the work in hand and, in a run, a line of figures under it and what rounds came to.
#[derive(Default)]
struct Live {
    bars: MultiProgress,
    bar: Option<ProgressBar>,
    figures: Option<ProgressBar>,
    rounds: Option<ProgressBar>,
    /// Of the stage in hand, by the names of [`FOLLOWED`].
    series: Vec<(&'static str, Vec<f64>)>,
    /// What each round did on held-out prompts.
    held_out: Vec<String>,
}

impl Live {
    fn begin(&mut self, title: &str, steps: usize) {
        self.series.clear();
        let bar = self.bars.insert(0, new_bar(title, steps));
        // Only now: a bar that is drawn on its own leaves its line behind.
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
        if !self.held_out.is_empty() {
            let bar = self.bars.add(new_text());
            bar.set_message(format!("held out: {}", self.held_out.join("   ")));
            self.rounds = Some(bar);
        }
    }

    fn follow(&mut self, metrics: &[Metric]) {
        for (name, label) in FOLLOWED {
            let Some((_, value)) = metrics.iter().find(|(other, _)| *other == name) else {
                continue;
            };
            match self.series.iter_mut().find(|(of, _)| *of == label) {
                Some((_, values)) => values.push(*value),
                None => self.series.push((label, vec![*value])),
            }
        }
        let text = figures(&self.series);
        let bar = self.figures.get_or_insert_with(|| self.bars.insert(1, new_text()));
        bar.set_message(text);
    }

    fn judged(&mut self, report: &RoundReport) {
        self.held_out.push(round(report));
    }

    /// Everything goes, so that results on stdout stand alone.
    fn finish(&mut self) {
        let all = [self.bar.take(), self.figures.take(), self.rounds.take()];
        for bar in all.into_iter().flatten() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

/// Tells people how far the work is.
pub struct Progress {
    form: Form,
    title: String,
    tenth: usize,
    since: Instant,
}

impl Progress {
    /// Bars where stderr is a terminal.
    pub fn new(verbosity: Verbosity) -> Self {
        let form = match verbosity {
            Verbosity::Quiet => Form::Silent,
            _ if std::io::stderr().is_terminal() => Form::Bars(Live::default()),
            _ => Form::Lines,
        };
        Self { form, title: String::new(), tenth: 0, since: Instant::now() }
    }

    /// A line.
    pub fn note(&self, text: &str) {
        match &self.form {
            Form::Silent => {}
            Form::Bars(live) => live.bars.suspend(|| note(text)),
            _ => note(text),
        }
    }

    /// Work of so many steps begins; 0 where unknown.
    pub fn begin(&mut self, title: &str, steps: usize) {
        self.finish();
        (self.title, self.tenth, self.since) = (title.to_owned(), 0, Instant::now());
        match &mut self.form {
            Form::Silent => {}
            Form::Lines if steps == 0 => note(&format!("{title} …")),
            Form::Lines => note(&format!("{title}: {steps} steps")),
            Form::Bars(live) => live.begin(title, steps),
        }
    }

    /// So many steps are done.
    pub fn step(&mut self, done: usize, steps: usize, metrics: &str) {
        let tenth = done * 10 / steps.max(1);
        match &mut self.form {
            Form::Bars(Live { bar: Some(bar), .. }) => {
                bar.set_length(steps as u64);
                bar.set_position(done as u64);
                bar.set_message(metrics.to_owned());
            }
            Form::Lines if tenth > self.tenth || done == 1 => {
                self.tenth = tenth;
                note(&format!("{} {done}/{steps}  {metrics}", self.title));
            }
            _ => {}
        }
    }

    /// Shows the progress of an evaluation.
    pub fn show(&mut self, at: revealed::eval::Progress<'_>) {
        match at.done {
            0 => self.begin(at.stage, at.total),
            done => self.step(done, at.total, ""),
        }
        if at.done >= at.total {
            self.end("");
        }
    }

    /// The work is done.
    pub fn end(&mut self, metrics: &str) {
        self.finish();
        let title = std::mem::take(&mut self.title);
        let seconds = self.since.elapsed().as_secs_f64();
        self.note(&format!("{title} done in {seconds:.1} s  {metrics}"));
    }

    /// Removes the bars, for the work that stopped early.
    pub fn finish(&mut self) {
        if let Form::Bars(live) = &mut self.form {
            live.finish();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Observer for Progress {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            // Saved in the middle, and on it goes.
            Event::Started { at, .. } if at.step > 0 && self.title == place(*at) => {}
            Event::Started { at, steps } => self.begin(&place(*at), *steps),
            Event::Step { at, steps, metrics } => match &mut self.form {
                Form::Bars(live) => {
                    live.follow(metrics);
                    self.step(at.step, *steps, "");
                }
                _ => self.step(at.step, *steps, &live(metrics)),
            },
            Event::Ended { metrics, .. } => self.end(&live(metrics)),
            Event::Round(report) => {
                self.note(&verdict(report));
                if let Form::Bars(live) = &mut self.form {
                    live.judged(report);
                }
            }
            Event::Note(text) => self.note(text),
            _ => {}
        }
    }
}

fn place(at: At) -> String {
    match at.round {
        0 => at.phase.to_string(),
        round => format!("round {round} {}", at.phase),
    }
}

/// The first few metrics that say how the work goes; the file has them all.
fn live(metrics: &[Metric]) -> String {
    let shown = metrics.iter().filter(|(name, _)| !matches!(*name, "learning_rate" | "tokens"));
    let figures: Vec<String> =
        shown.take(4).map(|(name, value)| format!("{name} {}", figure(*value))).collect();
    figures.join("  ")
}

fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 || (size > 0.0 && size < 1e-3) => format!("{value:.2e}"),
        _ => format!("{value:.3}"),
    }
}

/// One round in one line.
fn verdict(report: &RoundReport) -> String {
    let word = if report.accepted { "kept" } else { "rolled back" };
    let mut line = format!(
        "round {} {word}: held-out reward {:.2} -> {:.2} (demonstrations {:.2}), KL {:.2}, reward accuracy {:.3} / {:.3} / {:.3} (initial / before / after)",
        report.round,
        report.before.reward,
        report.after.reward,
        report.demonstrations_reward,
        report.after.kl,
        report.accuracy_initial,
        report.accuracy_before,
        report.accuracy_after,
    );
    for reason in &report.reasons {
        line.push_str(&format!("\n  {reason}"));
    }
    line
}

/// Each series as blocks with its last value.
fn figures(series: &[(&str, Vec<f64>)]) -> String {
    let one = |(label, values): &(&str, Vec<f64>)| {
        let last = values.last().copied().unwrap_or(f64::NAN);
        format!("{label} {} {}", spark(values, SPARK), figure(last))
    };
    series.iter().map(one).collect::<Vec<_>>().join("   ")
}

/// A round in a few words.
fn round(report: &RoundReport) -> String {
    let mark = if report.accepted { "kept" } else { "rolled back" };
    format!(
        "round {} {mark}, reward {:.2} to {:.2}, KL {:.2}",
        report.round, report.before.reward, report.after.reward, report.after.kl
    )
}

fn new_text() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn new_bar(title: &str, steps: usize) -> ProgressBar {
    let (bar, template) = match steps {
        0 => (ProgressBar::new_spinner(), "{prefix} {spinner} {elapsed} {wide_msg}"),
        _ => (
            ProgressBar::new(steps as u64),
            "{prefix} [{bar:24}] {pos}/{len} {per_sec} eta {eta}  {wide_msg}",
        ),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(title.to_owned())
}

#[cfg(test)]
mod tests {
    use revealed::train::Phase;

    use super::*;

    #[test]
    fn live_metrics_are_few_and_leave_the_schedule_out() {
        let metrics = [("loss", 0.5), ("learning_rate", 1e-4), ("grad_norm", 2e-5)];
        assert_eq!(live(&metrics), "loss 0.500  grad_norm 2.00e-5");
    }

    #[test]
    fn a_place_names_its_round_only_within_the_loop() {
        let at = |round, phase| place(At { round, phase, step: 0 });
        assert_eq!(at(0, Phase::Sft), "sft");
        assert_eq!(at(0, Phase::FitValidationReward), "fit-validation-reward");
        assert_eq!(at(2, Phase::Fit), "round 2 fit");
    }

    #[test]
    fn a_series_is_blocks_and_its_last_value() {
        let series = [("KL", vec![0.0, 0.5, 1.0]), ("ended", vec![f64::NAN])];
        assert_eq!(figures(&series), "KL ▁▅█ 1.000   ended   NaN");
    }

    #[test]
    fn quiet_wins_over_verbose() {
        assert_eq!(Verbosity::new(true, 2), Verbosity::Quiet);
        assert!(Verbosity::new(false, 1) > Verbosity::Normal);
    }
}
