//! Notes on questions that are only a part of the benchmark, or not of it.

use std::collections::BTreeMap;

use super::kind::Benchmark;
use super::question::BenchmarkQuestion;
use super::rewardbench::{PRIOR_SETS, SECTIONS};
use super::rewardbench2::SUBSETS;
use super::rm_bench::DOMAINS;

/// Names listed per note; a file of another benchmark may have hundreds.
const SHOWN: usize = 12;

/// A part of a benchmark, with the subsets of which it needs at least one.
struct Part {
    name: &'static str,
    subsets: Vec<&'static str>,
}

/// Notes on parts without questions, and on questions of no part.
pub(super) fn of<'a>(
    benchmark: Benchmark,
    questions: impl IntoIterator<Item = &'a BenchmarkQuestion>,
) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for question in questions {
        *counts.entry(&question.subset).or_default() += 1;
    }
    let there = |name: &str| counts.keys().any(|found| counts_as(benchmark, found, name));
    let parts = parts(benchmark);
    let mut notes = Vec::new();
    let all: Vec<&str> = parts.iter().flat_map(|part| part.subsets.iter().copied()).collect();
    let missing: Vec<&str> = all.iter().copied().filter(|name| !there(name)).collect();
    if !missing.is_empty() {
        let (found, all) = (all.len() - missing.len(), all.len());
        notes.push(format!(
            "{found} of {all} {} have questions, so figures over several of them are not the published ones; without: {}",
            kinds(benchmark),
            list(&missing)
        ));
    }
    let empty: Vec<&str> = parts
        .iter()
        .filter(|part| !part.subsets.iter().any(|name| there(name)))
        .map(|part| part.name)
        .collect();
    if !empty.is_empty() {
        let over =
            if benchmark == Benchmark::RmBench { "figures over all domains" } else { "score" };
        notes.push(format!("no {over}: there is no question of {}", list(&empty)));
    }
    let known = |found: &str| {
        let prior = benchmark == Benchmark::RewardBench && PRIOR_SETS.contains(&found);
        prior || all.iter().any(|name| counts_as(benchmark, found, name))
    };
    for (found, count) in counts.iter().filter(|(found, _)| !known(found)).take(SHOWN) {
        let alike = all.iter().chain(&PRIOR_SETS).find(|name| name.eq_ignore_ascii_case(found));
        let meant = match alike {
            Some(name) => format!("; the name is {name}"),
            None if benchmark == Benchmark::RewardBench => {
                format!(" (sets of --prior are named by their files: {})", PRIOR_SETS.join(", "))
            }
            None => String::new(),
        };
        notes.push(format!(
            "{found:?}, {count} questions, is none of its {} and counts in no figure but its own{meant}",
            kinds(benchmark)
        ));
    }
    notes
}

/// Whether a question of `found` counts in `name`'s figure.
fn counts_as(benchmark: Benchmark, found: &str, name: &str) -> bool {
    match benchmark {
        Benchmark::RewardBench => found == name,
        Benchmark::RewardBench2 => found.eq_ignore_ascii_case(name),
        Benchmark::RmBench => found.starts_with(name),
    }
}

/// The parts that the overall figure is the mean of.
fn parts(benchmark: Benchmark) -> Vec<Part> {
    let alone = |name: &&'static str| Part { name, subsets: vec![*name] };
    match benchmark {
        Benchmark::RewardBench => SECTIONS
            .iter()
            .map(|(name, parts)| Part { name, subsets: parts.iter().map(|p| p.0).collect() })
            .collect(),
        Benchmark::RewardBench2 => SUBSETS.iter().map(alone).collect(),
        Benchmark::RmBench => DOMAINS.iter().map(alone).collect(),
    }
}

fn kinds(benchmark: Benchmark) -> &'static str {
    if benchmark == Benchmark::RmBench { "domains" } else { "subsets" }
}

fn list(names: &[&str]) -> String {
    let more = names.len().saturating_sub(2 * SHOWN);
    let shown = names.iter().take(2 * SHOWN).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(subsets: &[&str]) -> Vec<BenchmarkQuestion> {
        let question = |subset: &&str| BenchmarkQuestion {
            id: String::new(),
            subset: (*subset).into(),
            prompt: revealed_data::Prompt::Text(String::new()),
            chosen: vec![],
            rejected: vec![],
        };
        subsets.iter().map(question).collect()
    }

    fn notes(benchmark: Benchmark, subsets: &[&str]) -> String {
        of(benchmark, &questions(subsets)).join("\n")
    }

    #[test]
    fn missing_and_unknown_subsets_are_named() {
        let found = notes(
            Benchmark::RewardBench,
            &["alpacaeval-easy", "llmbar-natural", "donotanswer", "math-prm", "shp"],
        );
        assert!(found.contains("4 of 23 subsets have questions"), "{found}");
        assert!(found.contains("without: alpacaeval-length, ") && found.contains("hep-rust"));
        assert!(!found.contains("no score") && !found.contains("shp"), "{found}");
        let found = notes(Benchmark::RewardBench, &["Alpacaeval-hard", "foo", "foo"]);
        for part in [
            "0 of 23",
            "no score: there is no question of Chat, Chat Hard, Safety, Reasoning",
            "\"Alpacaeval-hard\", 1 questions, is none of its subsets and counts in no figure but its own; the name is alpacaeval-hard",
            "\"foo\", 2 questions",
            "anthropic_helpful",
        ] {
            assert!(found.contains(part), "{part} is not in {found}");
        }
        let two = notes(Benchmark::RewardBench2, &["Factuality", "ties", "Facts"]);
        for part in ["2 of 6", "no score: there is no question of Precise IF", "\"Facts\""] {
            assert!(two.contains(part), "{part} is not in {two}");
        }
        let domains = notes(Benchmark::RmBench, &["chat", "safety-refuse"]);
        assert!(domains.contains("2 of 4 domains") && domains.contains("math, code"), "{domains}");
    }

    #[test]
    fn a_complete_benchmark_has_no_notes() {
        let all: Vec<&str> = SECTIONS.iter().flat_map(|(_, p)| p.iter().map(|p| p.0)).collect();
        assert_eq!(notes(Benchmark::RewardBench, &all), "");
        assert_eq!(notes(Benchmark::RewardBench2, &SUBSETS), "");
        assert_eq!(notes(Benchmark::RmBench, &DOMAINS), "");
    }
}
