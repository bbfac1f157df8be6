//! Rows of prompts and completions as micro-batches: rows of one prompt together, and their prompt counted once.

use std::collections::HashMap;

use burn::tensor::Device;

use super::workers::{MicroBatches, max_concurrency, piece_tokens};

/// Tokens, and the index of the first completion token.
type Row<'a> = (&'a [u32], usize);

impl MicroBatches {
    /// `(input_ids, completion_start)` rows in micro-batches that together stay within `budget` tokens, padding counted. Rows
    /// of one prompt stay together where that is possible, and their prompt counts once. Rows that share no prompt, or of which
    /// one has no prompt, are planned by length.
    pub fn of_rows(rows: &[Row<'_>], device: &Device, budget: usize) -> Self {
        let groups = by_prompt(rows);
        if groups.len() == rows.len() || rows.iter().any(|(_, start)| *start == 0) {
            let lengths: Vec<usize> = rows.iter().map(|(ids, _)| ids.len()).collect();
            return Self::of_lengths(&lengths, device, budget);
        }
        let sizes = groups.iter().map(|group| size(&[group], rows));
        let (total, largest) = sizes.fold((0, 0), |(sum, most), size| (sum + size, most.max(size)));
        // Small micro-batches for all workers, but without splitting the rows of a prompt.
        let most = piece_tokens(device, usize::MAX, budget);
        let tokens = piece_tokens(device, total, budget).max(largest.min(most));
        let parts = groups.into_iter().flat_map(|group| split(group, tokens, rows));
        let mut parts: Vec<Vec<usize>> = parts.collect();
        // Similar lengths together, so that there is little padding.
        parts.sort_by_key(|part| longest(part, rows));
        let batches = joined(parts, tokens, rows);
        let sizes = batches.iter().map(|batch| size(&batch.iter().collect::<Vec<_>>(), rows));
        let (largest, padded) =
            sizes.fold((0, 0), |(most, sum), size| (most.max(size), sum + size));
        let parts = batches.iter().flatten();
        let tokens = parts.map(|part| longest(part, rows).0 + completions(part, rows)).sum();
        let rows = batches.into_iter().map(|batch| batch.concat()).collect();
        Self { rows, concurrency: max_concurrency(device, largest, budget), tokens, padded }
    }
}

/// Neighbouring parts of prompts in one micro-batch, as long as it has up to `tokens`.
fn joined(parts: Vec<Vec<usize>>, tokens: usize, rows: &[Row<'_>]) -> Vec<Vec<Vec<usize>>> {
    let mut batches: Vec<Vec<Vec<usize>>> = Vec::new();
    for part in parts {
        let fits = |batch: &Vec<Vec<usize>>| {
            let all: Vec<&Vec<usize>> = batch.iter().chain([&part]).collect();
            size(&all, rows) <= tokens
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(part),
            _ => batches.push(vec![part]),
        }
    }
    batches
}

/// Indices of rows with the same prompt, in order of their first.
fn by_prompt(rows: &[Row<'_>]) -> Vec<Vec<usize>> {
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, (ids, start)) in rows.iter().enumerate() {
        let group = *known.entry(ids.get(..*start).unwrap_or(ids)).or_insert(groups.len());
        if group == groups.len() {
            groups.push(vec![]);
        }
        groups[group].push(index);
    }
    groups
}

/// Tokens of the longest prompt and of the longest completion.
fn longest(group: &[usize], rows: &[Row<'_>]) -> (usize, usize) {
    let all = group.iter().map(|index| {
        let (ids, start) = rows[*index];
        (start, ids.len().saturating_sub(start))
    });
    all.fold((0, 0), |(p, c), (prompt, completion)| (p.max(prompt), c.max(completion)))
}

/// Tokens of all completions.
fn completions(group: &[usize], rows: &[Row<'_>]) -> usize {
    group.iter().map(|index| longest(&[*index], rows).1).sum()
}

/// Padded tokens of groups of rows in one micro-batch.
fn size(groups: &[&Vec<usize>], rows: &[Row<'_>]) -> usize {
    let longest = groups.iter().map(|group| longest(group, rows));
    let (prompt, completion) =
        longest.fold((0, 0), |(p, c), (prompt, completion)| (p.max(prompt), c.max(completion)));
    let count: usize = groups.iter().map(|group| group.len()).sum();
    groups.len() * prompt + count * completion
}

/// A group in parts of up to `tokens`.
fn split(mut group: Vec<usize>, tokens: usize, rows: &[Row<'_>]) -> Vec<Vec<usize>> {
    if size(&[&group], rows) <= tokens {
        return vec![group];
    }
    group.sort_by_key(|index| longest(&[*index], rows).1);
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for index in group {
        match parts.last_mut() {
            Some(part) if size(&[&[part.as_slice(), &[index]].concat()], rows) <= tokens => {
                part.push(index);
            }
            _ => parts.push(vec![index]),
        }
    }
    parts
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn row(prompt: u32, prompt_tokens: usize, completion: usize) -> (Vec<u32>, usize) {
        ([vec![prompt; prompt_tokens], vec![9; completion]].concat(), prompt_tokens)
    }

    fn planned(rows: &[(Vec<u32>, usize)], tokens: usize) -> MicroBatches {
        let rows: Vec<Row> = rows.iter().map(|(ids, start)| (ids.as_slice(), *start)).collect();
        MicroBatches::of_rows(&rows, &Device::flex(), tokens)
    }

    #[test]
    fn rows_of_a_prompt_stay_together_and_every_row_is_in_one_micro_batch() {
        // Two prompts, mixed.
        let rows: Vec<_> = (0..8).map(|i| row(i % 2, 20, 5)).collect();
        // 4 completions and a prompt are 40 tokens.
        assert_eq!(planned(&rows, 256).rows, [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
        // Not split for the sake of more micro-batches.
        let long: Vec<_> = (0..8).map(|i| row(i % 2, 200, 5)).collect();
        assert_eq!(planned(&long, 4096).rows, [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
        // A prompt and two completions are 30.
        let parts = planned(&rows, 30).rows;
        assert!(parts.iter().all(|part| part.len() == 2), "{parts:?}");
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        // Too little for any row: one at a time.
        assert_eq!(planned(&rows, 1).rows.len(), 8);
    }

    #[test]
    fn padding_is_counted_and_shared_prompts_count_once() {
        // One prompt of 20 and completions of 5 and 2; another of 10 with 5 and 5.
        let rows = [row(1, 20, 5), row(1, 20, 2), row(2, 10, 5), row(2, 10, 5)];
        let planned = planned(&rows, 4096);
        assert_eq!(planned.tokens, 20 + 5 + 2 + 10 + 5 + 5);
        // One micro-batch: both prompts padded to the longer, every completion to the longest.
        assert_eq!((planned.rows.len(), planned.padded), (1, 2 * 20 + 4 * 5), "{planned:?}");
    }

    #[test]
    fn rows_that_share_nothing_or_have_no_prompt_are_planned_by_length() {
        let rows: Vec<_> = (0..4).map(|i| row(i, 10, 1 + i as usize)).collect();
        assert_eq!(planned(&rows, 28).rows, [vec![0, 1], vec![2, 3]]);
        let rows: Vec<_> = rows.into_iter().map(|(ids, _)| (ids, 0)).collect();
        assert_eq!(planned(&rows, 28).rows, [vec![0, 1], vec![2, 3]]);
    }
}
