//! The page: its sections in order, between head and foot.

use super::curves::curves;
use super::evaluations;
use super::run::RunFiles;
use super::sections;
use super::tables;
use super::text::escape;
use super::verdict::verdict;
use revealed_eval::EvalRecord;

const STYLE: &str = include_str!("style.css");

/// The page as UTF-8 text, with the given evaluations of the run's models.
pub fn html(run: &RunFiles, records: &[EvalRecord]) -> String {
    let curves = curves(&run.metrics);
    let verdict = verdict(run, &curves);
    let sections = [
        ("verdict", "Verdict", sections::verdict(&verdict)),
        ("held-out", "Held-out figures", tables::held_out(run)),
        ("gold", "True reward", tables::gold(run)),
        ("rounds", "Rounds", tables::rounds(run)),
        ("curves", "Curves", sections::curves(&curves, &run.settings)),
        ("samples", "Samples", sections::samples(run)),
        ("rewards", "Rewards of demonstrations and samples", sections::histograms(run)),
        ("audit", "Shortcut audit", tables::audit(run)),
        ("evaluations", "Evaluations", evaluations::evaluations(records)),
        ("settings", "Settings and hashes", sections::settings(run)),
    ];
    let used = || sections.iter().filter(|(_, _, body)| !body.is_empty());
    let links: String =
        used().map(|(id, title, _)| format!("<a href=\"#{id}\">{title}</a>")).collect();
    let bodies: String = used()
        .map(|(id, title, body)| format!("<section id=\"{id}\"><h2>{title}</h2>{body}</section>"))
        .collect();
    let name = escape(&run.name());
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\
         <title>{name}: alignment run</title><style>{STYLE}</style></head><body>\
         <header><h1>{name}</h1>{}</header><nav aria-label=\"Sections\">{links}</nav><main>{}{bodies}</main>\
         <footer>Written by <code>revealed report</code> from the run folder’s files; docs/report.md explains every figure.</footer></body></html>\n",
        sections::subtitle(run),
        sections::missing(run),
    )
}

#[cfg(test)]
mod tests {
    use super::super::example::run;
    use super::super::metrics::MetricLine;
    use super::*;
    use revealed_train::Phase;

    #[test]
    fn texts_of_others_are_escaped() {
        let page = html(&run(), &[]);
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;prompt &amp; &quot;more&quot;"));
        assert!(
            page.contains("&lt;img src=x onerror=alert(1)&gt;") && page.contains("after\u{FFFD}")
        );
        assert!(!page.contains("</script>") && !page.contains("<img") && !page.contains('\u{0}'));
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let page = html(&run(), &[]);
        for forbidden in ["<script", "http://", "https://", "src=\"", "url(", "@import"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_run_of_which_nothing_is_left_has_a_page() {
        let empty = RunFiles {
            metrics: vec![],
            rounds: vec![],
            damaged: vec![],
            scores: Default::default(),
            samples: Default::default(),
            gold: None,
            finished: false,
            settings: Default::default(),
            missing: vec!["recipe.toml: <gone>".into()],
            path: "runs/toy".into(),
        };
        let page = html(&empty, &[]);
        assert!(page.contains("in progress") && page.contains("recipe.toml: &lt;gone&gt;"));
        assert!(page.contains("No round has been evaluated.") && !page.contains("0 of 0"));
    }

    #[test]
    fn a_long_run_stays_small() {
        let names = ["objective/scores", "objective/kl", "completions/mean_length", "grad_norm"];
        let line = |place: usize| MetricLine {
            round: 1 + place / 10_000,
            phase: Phase::Improve,
            step: place % 10_000 + 1,
            place,
            values: names.map(|name| (name.to_owned(), (place as f64).sin())).to_vec(),
        };
        let metrics = (1..40_000).map(line).collect();
        let page = html(&RunFiles { metrics, ..run() }, &[]);
        assert!(page.len() < 150_000, "{} bytes", page.len());
    }
}
