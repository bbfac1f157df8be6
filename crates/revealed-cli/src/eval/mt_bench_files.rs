//! The files of MT-Bench, in FastChat's layout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use revealed::eval::Source;
use revealed::eval::mt_bench::{JudgePrompts, ModelAnswer, Question, read_answers, read_questions};

/// Questions, prompts and references, in FastChat's layout.
#[derive(Debug, clap::Args)]
pub struct BenchFiles {
    /// question.jsonl
    #[arg(long)]
    pub questions: PathBuf,
    /// judge_prompts.jsonl
    #[arg(long)]
    pub judge_prompts: Option<PathBuf>,
    /// Reference answers of math, reasoning and coding: a file, or a folder of files
    #[arg(long)]
    pub references: Option<PathBuf>,
    /// Only the first questions, at most this many; 0 for all
    #[arg(long, default_value_t = 0)]
    pub max_questions: usize,
}

/// The contents of [`BenchFiles`].
pub struct Bench {
    /// The questions.
    pub questions: Vec<Question>,
    /// The judge's prompts.
    pub prompts: JudgePrompts,
    /// Reference answers.
    pub references: Vec<ModelAnswer>,
    /// The files that were read.
    pub data: Vec<Source>,
}

impl BenchFiles {
    /// The questions alone.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn questions(&self) -> Result<Vec<Question>> {
        let mut questions = read_questions(&self.questions)?;
        if self.max_questions > 0 {
            questions.truncate(self.max_questions);
        }
        Ok(questions)
    }

    /// Reads them.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn read(&self) -> Result<Bench> {
        let prompts = self.judge_prompts.as_ref();
        let prompts = prompts.context("a judge needs its prompts: give --judge-prompts")?;
        let mut data = vec![Source::of(&self.questions)?, Source::of(prompts)?];
        let mut references = vec![];
        if let Some(path) = &self.references {
            references = read_answers(path).context("--references")?;
            data.push(source_of_lines(path)?);
        }
        let prompts = JudgePrompts::read(prompts)?;
        Ok(Bench { questions: self.questions()?, prompts, references, data })
    }
}

/// A file by its hash; a folder of files by its name alone.
///
/// # Errors
/// When the file cannot be read.
pub fn source_of_lines(path: &Path) -> Result<Source> {
    Ok(match path.is_dir() {
        true => Source::named(path.display().to_string()),
        false => Source::of(path)?,
    })
}
