//! Limits of a run: row lengths that fit the model, tokens that it has, memory that is free.

use std::path::Path;

use revealed_models::HfConfig;

use crate::error::TrainError;
use crate::memory::MemoryPlan;
use crate::recipe::DataSection;
use crate::task::Task;

/// Lowers `data.max_prompt_tokens` and `data.max_completion_tokens` so that prompt and completion together fit the
/// model's context: completions that would fill the context get half of it, prompts the rest. Returns a note that
/// lists the lowered keys, if any.
///
/// # Errors
/// When the model's config cannot be read.
pub fn fit_to_context(data: &mut DataSection, folder: &Path) -> Result<Option<String>, TrainError> {
    let (prompt, completion) = (data.max_prompt_tokens, data.max_completion_tokens);
    let context = context(folder)?.filter(|c| prompt.saturating_add(completion) > *c);
    let Some(context) = context else {
        return Ok(None);
    };
    if completion >= context {
        data.max_completion_tokens = (context / 2).max(1);
    }
    data.max_prompt_tokens = prompt.min(context.saturating_sub(data.max_completion_tokens)).max(1);
    let lowered = [
        ("data.max_prompt_tokens", prompt, data.max_prompt_tokens),
        ("data.max_completion_tokens", completion, data.max_completion_tokens),
    ];
    let lowered = lowered.iter().filter(|(_, was, is)| was != is);
    let lowered: Vec<String> =
        lowered.map(|(key, was, is)| format!("{key} lowered from {was} to {is}")).collect();
    Ok(Some(format!("the model's context is {context} tokens: {}", lowered.join(", "))))
}

/// `max_position_embeddings` of a model folder, if it has one.
fn context(folder: &Path) -> Result<Option<usize>, TrainError> {
    let config = HfConfig::read(folder)?;
    let length = config.fields().get("max_position_embeddings").and_then(|value| value.as_u64());
    Ok(length.and_then(|length| usize::try_from(length).ok()))
}

/// Refuses data with token ids outside the model's vocabulary of `vocab` ids.
pub(super) fn check_vocabulary(task: &Task, vocab: usize, folder: &Path) -> Result<(), TrainError> {
    let rows = task.train.iter().chain(&task.held_out).map(|row| row.input_ids.as_slice());
    let mut ids = rows.chain(task.prompts.iter().map(Vec::as_slice)).flatten();
    match ids.find(|id| **id as usize >= vocab) {
        None => Ok(()),
        Some(id) => Err(TrainError::Vocabulary { folder: folder.into(), id: *id, vocab }),
    }
}

/// Refuses a run whose memory plan needs more than `limit_gib`; 0 for the free memory of the machine.
pub(super) fn check_memory(plan: &MemoryPlan, limit_gib: f64) -> Result<(), TrainError> {
    let limit = if limit_gib > 0.0 { Some(limit_gib) } else { free_gib() };
    let needed = plan.total() as f64 / f64::from(1 << 30);
    match limit {
        Some(limit) if needed > limit => {
            let largest = plan.parts.iter().max_by_key(|(_, bytes)| bytes);
            let largest = largest.map_or(String::new(), |(name, _)| name.clone());
            Err(TrainError::Memory { needed, largest, limit })
        }
        _ => Ok(()),
    }
}

/// Memory that the system can still give this process and that it holds, in GiB, where the system reports it.
fn free_gib() -> Option<f64> {
    let kib = |file: &str, field: &str| -> Option<f64> {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let free = kib("/proc/meminfo", "MemAvailable:")? + kib("/proc/meminfo", "SwapFree:")?;
    Some((free + kib("/proc/self/status", "VmRSS:")?) / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(context: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{{\"max_position_embeddings\": {context}}}");
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        folder
    }

    #[test]
    fn prompts_get_the_context_that_completions_do_not_need() {
        let mut data = DataSection { max_completion_tokens: 40, ..Default::default() };
        let note = fit_to_context(&mut data, folder(64).path()).unwrap().unwrap();
        assert_eq!(data.max_prompt_tokens, 24);
        assert!(note.ends_with("tokens: data.max_prompt_tokens lowered from 512 to 24"), "{note}");
        assert_eq!(fit_to_context(&mut data, folder(64).path()).unwrap(), None);
    }

    #[test]
    fn completions_that_fill_the_context_get_half_of_it() {
        let mut data = DataSection::default();
        let note = fit_to_context(&mut data, folder(64).path()).unwrap().unwrap();
        assert!(note.contains("512 to 32, data.max_completion_tokens lowered from "), "{note}");
        assert_eq!((data.max_prompt_tokens, data.max_completion_tokens), (32, 32));
    }
}
