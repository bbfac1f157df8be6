//! The report as people read it.

use std::fmt;

use super::{DataReport, Lengths, SplitSizes};

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} rows of {}", self.path.display(), self.rows, self.kind.name())?;
        let line = |name: &str, l: &Lengths| {
            let Lengths { min, median, p95, max, total } = l;
            format!("{name:<18} min {min}, median {median}, p95 {p95}, max {max}, total {total}")
        };
        writeln!(f, "  {}", line("prompt tokens", &self.prompt_tokens))?;
        writeln!(f, "  {}", line("completion tokens", &self.completion_tokens))?;
        writeln!(f, "  {:<18} {}", "dropped", self.dropped)?;
        for row in &self.dropped_rows {
            writeln!(f, "    {}: {}", row.id, row.reason)?;
        }
        writeln!(f, "  {:<18} {}", "truncated", self.truncated)?;
        if !self.truncated_ids.is_empty() {
            writeln!(f, "    {}", self.truncated_ids.join(", "))?;
        }
        writeln!(f, "  {:<18} {}", "repeated prompts", self.duplicate_prompts)?;
        writeln!(f, "  {:<18} {}", "empty completions", self.empty_completions)?;
        if let Some(SplitSizes { train, held_out }) = self.split {
            writeln!(f, "  {:<18} {train} train, {held_out} held out", "split")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning: {warning}")?;
        }
        for row in &self.preview {
            writeln!(f, "  row {} (P prompt, C completion, T terminator)", row.id)?;
            for token in &row.tokens {
                writeln!(f, "    {:?} {:>7} {:?}", token.mark, token.id, token.text)?;
            }
        }
        Ok(())
    }
}
