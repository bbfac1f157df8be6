//! Which folder each file of the tokenizer, the chat template and the stop tokens is read from.

use std::path::{Path, PathBuf};

/// The files that belong to a tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// The files that belong to the model and not to its tokenizer.
const OF_MODEL: [&str; 2] = ["generation_config.json", "config.json"];

/// The folders that a model's text files are read from: its own folder, and that of an adapter on
/// it.
///
/// | the adapter's folder has | tokenizer and special tokens | chat template |
/// |---|---|---|
/// | `tokenizer.json` | the adapter's files alone | the adapter's, or none |
/// | a chat template, or `tokenizer_config.json` with other fields | the base's; fields that the adapter's `tokenizer_config.json` sets replace the base's | the adapter's, else the base's |
/// | neither | the base's | the base's |
///
/// `generation_config.json` and `config.json` are the adapter's where it has them, else the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFolder {
    base: PathBuf,
    adapter: Option<PathBuf>,
}

impl TextFolder {
    /// The folder of a full model, or of a tokenizer.
    pub fn of_model(folder: &Path) -> Self {
        Self { base: folder.to_owned(), adapter: None }
    }

    /// The folder of an adapter on the model of `base`.
    pub fn of_adapter(base: &Path, adapter: &Path) -> Self {
        Self { base: base.to_owned(), adapter: Some(adapter.to_owned()) }
    }

    /// The folder whose `tokenizer.json` is used.
    pub fn tokenizer_folder(&self) -> &Path {
        self.own_tokenizer().unwrap_or(&self.base)
    }

    /// The folders whose tokenizer files are used, the one that takes precedence first.
    pub fn tokenizer_folders(&self) -> Vec<&Path> {
        match (self.own_tokenizer(), &self.adapter) {
            (Some(own), _) => vec![own],
            (None, Some(adapter)) => vec![adapter, &self.base],
            (None, None) => vec![&self.base],
        }
    }

    /// Where a file of the model or its tokenizer is; a file that no folder has is named in the
    /// base's.
    pub fn file(&self, name: &str) -> PathBuf {
        let folders = match OF_MODEL.contains(&name) {
            true => self.adapter.iter().chain([&self.base]).map(PathBuf::as_path).collect(),
            false => self.tokenizer_folders(),
        };
        let paths = folders.iter().map(|folder| folder.join(name));
        let last = folders.last().copied().unwrap_or(&self.base).join(name);
        paths.into_iter().find(|path| path.is_file()).unwrap_or(last)
    }

    fn own_tokenizer(&self) -> Option<&Path> {
        self.adapter.as_deref().filter(|adapter| adapter.join(TOKENIZER).is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| std::fs::write(folder.path().join(file), "{}").unwrap());
        folder
    }

    #[test]
    fn an_adapter_with_a_tokenizer_brings_all_of_its_files() {
        let base = folder(&[TOKENIZER, "special_tokens_map.json", "config.json"]);
        let adapter = folder(&[TOKENIZER]);
        let text = TextFolder::of_adapter(base.path(), adapter.path());
        assert_eq!(text.tokenizer_folders(), [adapter.path()]);
        // The base's map is of another tokenizer.
        assert!(!text.file("special_tokens_map.json").is_file());
        assert_eq!(text.file("config.json"), base.path().join("config.json"));
    }

    #[test]
    fn an_adapter_without_a_tokenizer_only_overrides_what_it_has() {
        let base = folder(&[TOKENIZER, "generation_config.json", "chat_template.jinja"]);
        let adapter = folder(&["generation_config.json", "chat_template.jinja"]);
        let text = TextFolder::of_adapter(base.path(), adapter.path());
        assert_eq!(text.tokenizer_folder(), base.path());
        for own in ["generation_config.json", "chat_template.jinja"] {
            assert_eq!(text.file(own), adapter.path().join(own));
        }
        assert_eq!(text.file(TOKENIZER), base.path().join(TOKENIZER));
    }
}
