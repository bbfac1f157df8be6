//! Token rows of different lengths as padded tensors, and where their completions are.

use std::collections::HashMap;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::error::ModelError;

/// On which side the shorter rows are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingSide {
    /// Filler first: all rows end in the same column, as decoding wants.
    Left,
    /// Filler last: all rows start in the first column, as training wants.
    Right,
}

/// Rows of tokens as the models take them. Masks come from lengths, never from the pad id.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// `[B, T]`.
    pub input_ids: Tensor<2, Int>,
    /// `[B, T]`, true at real tokens.
    pub attention_mask: Tensor<2, Bool>,
    /// `[B, T]`, counted from each row's first real token.
    pub position_ids: Tensor<2, Int>,
    /// `[B, S]` over all keys, for rows in which a query could see filler; `None` otherwise.
    pub(crate) key_padding: Option<Tensor<2, Bool>>,
    /// Real tokens of each row.
    pub lengths: Vec<usize>,
    /// Tokens of each whole row, with those that are not in this batch: what the kinds of rope that
    /// depend on a row's length go by.
    pub(crate) row_lengths: Vec<usize>,
    /// Where the filler is.
    pub side: PaddingSide,
}

impl TokenBatch {
    /// Pads rows to their longest.
    ///
    /// # Errors
    /// When there is no row, or a row is empty.
    pub fn new<R: AsRef<[u32]>>(
        rows: &[R],
        pad_id: u32,
        side: PaddingSide,
        device: &Device,
    ) -> Result<Self, ModelError> {
        // Ids and masks have no gradient, whatever the device says.
        let device = &device.clone().without_autodiff();
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        if let Some(row) = lengths.iter().position(|length| *length == 0) {
            return Err(ModelError::Row { row, reason: "it has no tokens".into() });
        }
        let Some(&time) = lengths.iter().max() else {
            return Err(ModelError::Row { row: 0, reason: "the batch has no rows".into() });
        };
        let batch = rows.len();
        let mut ids = vec![pad_id as i32; batch * time];
        let mut mask = vec![false; batch * time];
        let mut positions = vec![0i32; batch * time];
        for (index, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            let filler = if side == PaddingSide::Left { time - row.len() } else { 0 };
            let start = index * time + filler;
            for (offset, token) in row.iter().enumerate() {
                ids[start + offset] = *token as i32;
                mask[start + offset] = true;
                positions[start + offset] = offset as i32;
            }
        }
        let shape = [batch, time];
        let attention_mask = Tensor::from_data(TensorData::new(mask, shape), device);
        let seen = side == PaddingSide::Left && lengths.iter().any(|length| *length < time);
        Ok(Self {
            input_ids: Tensor::from_data(TensorData::new(ids, shape), device),
            key_padding: seen.then(|| attention_mask.clone()),
            attention_mask,
            position_ids: Tensor::from_data(TensorData::new(positions, shape), device),
            row_lengths: lengths.clone(),
            lengths,
            side,
        })
    }

    /// One new token a row, over `keys` slots of a left-padded cache, the new one last.
    ///
    /// `lengths` counts each row's real tokens with the new one.
    pub(crate) fn decoding_step(
        tokens: &[i32],
        lengths: Vec<usize>,
        keys: usize,
        device: &Device,
    ) -> Self {
        let rows = tokens.len();
        let positions: Vec<i32> = lengths.iter().map(|length| *length as i32 - 1).collect();
        let padded = lengths.iter().any(|length| *length < keys);
        let key_padding = padded.then(|| {
            let mask = lengths.iter().flat_map(|l| (0..keys).map(move |key| key + l >= keys));
            Tensor::from_data(TensorData::new(mask.collect::<Vec<bool>>(), [rows, keys]), device)
        });
        Self {
            input_ids: Tensor::from_data(TensorData::new(tokens.to_vec(), [rows, 1]), device),
            attention_mask: Tensor::from_data(TensorData::new(vec![true; rows], [rows, 1]), device),
            position_ids: Tensor::from_data(TensorData::new(positions, [rows, 1]), device),
            key_padding,
            row_lengths: lengths.clone(),
            lengths,
            side: PaddingSide::Left,
        }
    }

    /// Completions behind left-padded prompts of `width` columns, of which row `n` has `prompts[n]` tokens.
    fn behind(
        rows: &[&[u32]],
        prompts: &[usize],
        width: usize,
        pad_id: u32,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let device = &device.clone().without_autodiff();
        let own = Self::new(rows, pad_id, PaddingSide::Right, device)?;
        let [count, time] = own.shape();
        let positions: Vec<i32> =
            prompts.iter().flat_map(|p| (0..time).map(move |t| (p + t) as i32)).collect();
        let padded = prompts.iter().any(|prompt| *prompt < width);
        let key_padding = padded.then(|| {
            // What stands behind a row's end no real token of it sees.
            let seen =
                |p: &usize| (0..width + time).map(move |key| key + p >= width).collect::<Vec<_>>();
            let mask: Vec<bool> = prompts.iter().flat_map(seen).collect();
            Tensor::from_data(TensorData::new(mask, [count, width + time]), device)
        });
        let position_ids = Tensor::from_data(TensorData::new(positions, [count, time]), device);
        let row_lengths = prompts.iter().zip(&own.lengths).map(|(p, own)| p + own).collect();
        Ok(Self { position_ids, key_padding, row_lengths, ..own })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.input_ids.dims()
    }

    /// Column of the `offset`-th token of `row`.
    fn column(&self, row: usize, offset: usize) -> usize {
        match self.side {
            PaddingSide::Left => self.shape()[1] - self.lengths[row] + offset,
            PaddingSide::Right => offset,
        }
    }

    /// The column of each row's last real token: the one place where a reward is read.
    ///
    /// # Shapes
    /// - output: `[B]`, right for left and right padding
    pub fn last_token(&self) -> Tensor<1, Int> {
        let columns: Vec<i32> =
            (0..self.lengths.len()).map(|r| self.column(r, self.lengths[r] - 1) as i32).collect();
        Tensor::from_ints(columns.as_slice(), &self.input_ids.device())
    }
}

/// A batch of prompt + completion rows, and where the completions' tokens are predicted.
#[derive(Debug, Clone)]
pub struct CompletionBatch {
    /// The rows, padded; without their prompts, where these are shared.
    pub tokens: TokenBatch,
    /// Prompts that several rows begin with.
    pub(crate) prompts: Option<Prompts>,
    /// `[B, C]`, true at real completion tokens; column 0 is the completion's first token.
    pub completion_mask: Tensor<2, Bool>,
    /// Completion tokens of each row.
    pub completion_lengths: Vec<usize>,
    /// `[N]`: the flat hidden states ([`CausalLm::flat_hidden`](crate::CausalLm)) that predict a completion token.
    pub(crate) predicts: Tensor<1, Int>,
    /// `[B]`: those of every row's last token.
    pub(crate) last: Tensor<1, Int>,
    /// `[N]`: the tokens.
    pub(crate) targets: Tensor<1, Int>,
    /// `[B·C]`: index into `[N + 1]`, whose last entry is the filler.
    pub(crate) layout: Tensor<1, Int>,
}

/// Prompts, each once.
#[derive(Debug, Clone)]
pub(crate) struct Prompts {
    /// Left-padded.
    pub tokens: TokenBatch,
    /// `[B]`: the prompt of every row.
    pub source: Tensor<1, Int>,
}

/// Prompts are shared where this share of all tokens, or more, need not be computed then: a second pass has its price.
const WORTH: f64 = 0.125;

impl CompletionBatch {
    /// As [`new`](Self::new) with right padding; where rows begin with the same prompt, that is computed once for all of
    /// them. Log-probs, values and their gradients are the same up to rounding.
    ///
    /// # Errors
    /// As there.
    pub fn sharing_prompts<R: AsRef<[u32]>>(
        rows: &[(R, usize)],
        pad_id: u32,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut prompts: Vec<&[u32]> = Vec::new();
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        let (mut source, mut all, mut first) = (Vec::with_capacity(rows.len()), 0, 0);
        for (ids, start) in rows {
            let ids = ids.as_ref();
            let Some(prompt) = ids.get(..*start) else { break };
            let index = *known.entry(prompt).or_insert_with(|| {
                prompts.push(prompt);
                first += prompt.len();
                prompts.len() - 1
            });
            source.push(index);
            all += ids.len();
        }
        let repeated: usize =
            source.iter().map(|index| prompts[*index].len()).sum::<usize>() - first;
        if (repeated as f64) < WORTH * all as f64 || repeated == 0 {
            return Self::new(rows, pad_id, PaddingSide::Right, device);
        }
        check(rows)?;
        let completions: Vec<&[u32]> =
            rows.iter().map(|(ids, start)| &ids.as_ref()[*start..]).collect();
        let starts: Vec<usize> = rows.iter().map(|(_, start)| *start).collect();
        let shared = TokenBatch::new(&prompts, pad_id, PaddingSide::Left, device)?;
        let width = shared.shape()[1];
        let tokens = TokenBatch::behind(&completions, &starts, width, pad_id, device)?;
        let time = tokens.shape()[1];
        let first = rows.len();
        // The last state of every row's prompt comes first, then the completions'.
        let state = |row: usize, offset: usize| match offset {
            0 => row,
            _ => first + row * time + offset - 1,
        };
        let source = ints(&source, &device.clone().without_autodiff());
        let prompts = Prompts { tokens: shared, source };
        Ok(Self::laid_out(rows, tokens, Some(prompts), state, device))
    }

    /// Builds the batch from `(input_ids, completion_start)` rows.
    ///
    /// # Errors
    /// When a row has no prompt token (nothing predicts its first token) or no completion token.
    pub fn new<R: AsRef<[u32]>>(
        rows: &[(R, usize)],
        pad_id: u32,
        side: PaddingSide,
        device: &Device,
    ) -> Result<Self, ModelError> {
        check(rows)?;
        let ids: Vec<&[u32]> = rows.iter().map(|(ids, _)| ids.as_ref()).collect();
        let tokens = TokenBatch::new(&ids, pad_id, side, device)?;
        let time = tokens.shape()[1];
        let first: Vec<usize> =
            rows.iter().enumerate().map(|(row, (_, start))| tokens.column(row, *start)).collect();
        let state = |row: usize, offset: usize| row * time + first[row] + offset - 1;
        Ok(Self::laid_out(rows, tokens, None, state, device))
    }

    /// The batch of rows that are right; `state(row, t)` is the flat hidden state before the row's `t`-th completion token,
    /// which follows the one before.
    fn laid_out<R: AsRef<[u32]>>(
        rows: &[(R, usize)],
        tokens: TokenBatch,
        prompts: Option<Prompts>,
        state: impl Fn(usize, usize) -> usize,
        device: &Device,
    ) -> Self {
        let device = &device.clone().without_autodiff();
        let completions: Vec<&[u32]> =
            rows.iter().map(|(ids, start)| &ids.as_ref()[*start..]).collect();
        let completion_lengths: Vec<usize> = completions.iter().map(|c| c.len()).collect();
        let width = completion_lengths.iter().copied().max().unwrap_or(0);
        let total: usize = completion_lengths.iter().sum();
        let (mut predicts, mut targets) = (Vec::with_capacity(total), Vec::with_capacity(total));
        let mut layout = vec![total; rows.len() * width];
        let mut mask = vec![false; rows.len() * width];
        for (row, completion) in completions.iter().enumerate() {
            for (offset, token) in completion.iter().enumerate() {
                layout[row * width + offset] = targets.len();
                mask[row * width + offset] = true;
                predicts.push(state(row, offset));
                targets.push(*token as usize);
            }
        }
        let last: Vec<usize> = completion_lengths
            .iter()
            .enumerate()
            .map(|(row, length)| state(row, *length))
            .collect();
        Self {
            tokens,
            prompts,
            completion_mask: Tensor::from_data(TensorData::new(mask, [rows.len(), width]), device),
            completion_lengths,
            predicts: ints(&predicts, device),
            targets: ints(&targets, device),
            layout: ints(&layout, device),
            last: ints(&last, device),
        }
    }

    /// The rows with their shared prompts in front, and the column of the prompts' last token.
    pub(crate) fn whole_rows(&self, prompts: &Prompts) -> (TokenBatch, usize) {
        let own = &self.tokens;
        let (shared, width) = (&prompts.tokens, prompts.tokens.shape()[1]);
        let joined = |shared: &Tensor<2, Int>, own: &Tensor<2, Int>| {
            let shared = shared.clone().select(0, prompts.source.clone());
            Tensor::cat(vec![shared, own.clone()], 1)
        };
        let shared_mask = shared.attention_mask.clone().int().select(0, prompts.source.clone());
        let mask = Tensor::cat(vec![shared_mask, own.attention_mask.clone().int()], 1);
        let batch = TokenBatch {
            input_ids: joined(&shared.input_ids, &own.input_ids),
            attention_mask: mask.equal_elem(1),
            position_ids: joined(&shared.position_ids, &own.position_ids),
            key_padding: own.key_padding.clone(),
            lengths: own.row_lengths.clone(),
            row_lengths: own.row_lengths.clone(),
            side: PaddingSide::Left,
        };
        (batch, width - 1)
    }

    /// Completion tokens in the whole batch.
    pub fn completion_tokens(&self) -> usize {
        self.completion_lengths.iter().sum()
    }

    /// Lays values of the `N` completion tokens out as rows; filler is 0.
    ///
    /// # Shapes
    /// - values: `[N]`, output: `[B, C]`
    pub fn to_rows(&self, values: Tensor<1>) -> Tensor<2> {
        let shape = self.completion_mask.dims();
        let zero = Tensor::<1>::zeros([1], &self.targets.device());
        Tensor::cat(vec![values, zero], 0).select(0, self.layout.clone()).reshape(shape)
    }

    /// Pads host rows of per-token values in the same way; filler is 0.
    ///
    /// # Panics
    /// When a row has another length than its completion.
    pub fn rows_of(&self, rows: &[Vec<f32>]) -> Tensor<2> {
        let [batch, width] = self.completion_mask.dims();
        let mut values = vec![0f32; batch * width];
        for (row, given) in rows.iter().enumerate() {
            assert_eq!(given.len(), self.completion_lengths[row], "one value a completion token");
            values[row * width..row * width + given.len()].copy_from_slice(given);
        }
        Tensor::from_data(TensorData::new(values, [batch, width]), &self.targets.device())
    }
}

/// Refuses rows without a prompt or without a completion.
fn check<R: AsRef<[u32]>>(rows: &[(R, usize)]) -> Result<(), ModelError> {
    for (row, (ids, start)) in rows.iter().enumerate() {
        let len = ids.as_ref().len();
        if *start == 0 || *start >= len {
            let reason = format!(
                "its completion starts at token {start} of {len}; a prompt and a completion token are needed"
            );
            return Err(ModelError::Row { row, reason });
        }
    }
    Ok(())
}

fn ints(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    Tensor::from_ints(values.as_slice(), device)
}
