//! Micro-batches of rows of prompts and completions that fit into memory.

use std::borrow::Borrow;
use std::collections::HashMap;

use burn::tensor::Device;
use revealed_models::workers::{MicroBatches, max_concurrency, piece_tokens};

use crate::task::Row;

/// Rows in micro-batches; those that run in parallel have up to `budget` tokens in total, padding included. Rows of one prompt
/// are kept in one micro-batch if possible, and their prompt counts once.
pub(crate) fn micro_batches<R: Borrow<Row>>(
    rows: &[R],
    device: &Device,
    budget: usize,
) -> MicroBatches {
    let groups = by_prompt(rows);
    if groups.len() == rows.len() {
        let lengths: Vec<usize> = rows.iter().map(|row| row.borrow().input_ids.len()).collect();
        return MicroBatches::of_lengths(&lengths, device, budget);
    }
    let sizes = groups.iter().map(|group| size(&[group], rows));
    let (total, largest) = sizes.fold((0, 0), |(sum, most), size| (sum + size, most.max(size)));
    // Micro-batches for all workers, without splitting the rows of a prompt.
    let most = piece_tokens(device, usize::MAX, budget);
    let tokens = piece_tokens(device, total, budget).max(largest.min(most));
    let parts = groups.into_iter().flat_map(|group| split(group, tokens, rows));
    let mut parts: Vec<Vec<usize>> = parts.collect();
    // Sorted by length to reduce padding.
    parts.sort_by_key(|part| longest(part, rows));
    let mut micro_batches: Vec<Vec<Vec<usize>>> = Vec::new();
    for part in parts {
        let fits = |batch: &Vec<Vec<usize>>| {
            let all: Vec<&Vec<usize>> = batch.iter().chain([&part]).collect();
            size(&all, rows) <= tokens
        };
        match micro_batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(part),
            _ => micro_batches.push(vec![part]),
        }
    }
    let sizes = micro_batches.iter().map(|batch| size(&batch.iter().collect::<Vec<_>>(), rows));
    let (largest, padded) = sizes.fold((0, 0), |(most, sum), size| (most.max(size), sum + size));
    let parts = micro_batches.iter().flatten();
    let tokens = parts.map(|part| longest(part, rows).0 + completions(part, rows)).sum();
    let rows = micro_batches.into_iter().map(|batch| batch.concat()).collect();
    MicroBatches { rows, concurrency: max_concurrency(device, largest, budget), tokens, padded }
}

/// Indices of rows grouped by prompt, in order of the first row of each group.
fn by_prompt<R: Borrow<Row>>(rows: &[R]) -> Vec<Vec<usize>> {
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let group = *known.entry(row.borrow().prompt()).or_insert(groups.len());
        if group == groups.len() {
            groups.push(vec![]);
        }
        groups[group].push(index);
    }
    groups
}

/// Tokens of the longest prompt and of the longest completion of a group.
fn longest<R: Borrow<Row>>(group: &[usize], rows: &[R]) -> (usize, usize) {
    let all = group.iter().map(|index| {
        let row: &Row = rows[*index].borrow();
        (row.prompt().len(), row.completion().len())
    });
    all.fold((0, 0), |(p, c), (prompt, completion)| (p.max(prompt), c.max(completion)))
}

/// Tokens of all completions.
fn completions<R: Borrow<Row>>(group: &[usize], rows: &[R]) -> usize {
    group.iter().map(|index| rows[*index].borrow().completion().len()).sum()
}

/// Padded tokens of groups of rows in one micro-batch.
fn size<R: Borrow<Row>>(groups: &[&Vec<usize>], rows: &[R]) -> usize {
    let longest = groups.iter().map(|group| longest(group, rows));
    let (prompt, completion) =
        longest.fold((0, 0), |(p, c), (prompt, completion)| (p.max(prompt), c.max(completion)));
    let count: usize = groups.iter().map(|group| group.len()).sum();
    groups.len() * prompt + count * completion
}

/// A group in parts of up to `tokens` padded tokens.
fn split<R: Borrow<Row>>(mut group: Vec<usize>, tokens: usize, rows: &[R]) -> Vec<Vec<usize>> {
    if size(&[&group], rows) <= tokens {
        return vec![group];
    }
    group.sort_by_key(|index| rows[*index].borrow().completion().len());
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

#[cfg(test)]
mod tests {
    use super::{Device, Row};

    fn row(prompt: u32, prompt_tokens: usize, completion: usize) -> Row {
        let input_ids = [vec![prompt; prompt_tokens], vec![9; completion]].concat();
        Row { input_ids, completion_start: prompt_tokens, terminated: true }
    }

    fn micro_batches(rows: &[Row], tokens: usize) -> Vec<Vec<usize>> {
        super::micro_batches(rows, &Device::flex(), tokens).rows
    }

    #[test]
    fn rows_of_a_prompt_stay_together_and_every_row_is_in_one_micro_batch() {
        // Two prompts, alternating.
        let rows: Vec<Row> = (0..8).map(|i| row(i % 2, 20, 5)).collect();
        // 4 completions and a prompt are 40 tokens.
        assert_eq!(micro_batches(&rows, 256), [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
        // Not split to get more micro-batches.
        let long: Vec<Row> = (0..8).map(|i| row(i % 2, 200, 5)).collect();
        assert_eq!(micro_batches(&long, 4096), [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
        // A prompt and two completions are 30.
        let parts = micro_batches(&rows, 30);
        assert!(parts.iter().all(|part| part.len() == 2), "{parts:?}");
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        // Too little for any row: one at a time.
        assert_eq!(micro_batches(&rows, 1).len(), 8);
    }

    #[test]
    fn padding_is_counted_and_a_shared_prompt_counts_once() {
        // One prompt of 20 and completions of 5 and 2; another of 10 with 5 and 5.
        let rows = [row(1, 20, 5), row(1, 20, 2), row(2, 10, 5), row(2, 10, 5)];
        let batches = super::micro_batches(&rows, &Device::flex(), 4096);
        assert_eq!(batches.tokens, 20 + 5 + 2 + 10 + 5 + 5);
        // One micro-batch: both prompts as long as the longer, every completion as the longest.
        assert_eq!((batches.rows.len(), batches.padded), (1, 2 * 20 + 4 * 5), "{batches:?}");
    }

    #[test]
    fn rows_that_share_nothing_are_planned_by_length() {
        let rows: Vec<Row> = (0..4).map(|i| row(i, 10, 1 + i as usize)).collect();
        assert_eq!(micro_batches(&rows, 28), [vec![0, 1], vec![2, 3]]);
    }
}
