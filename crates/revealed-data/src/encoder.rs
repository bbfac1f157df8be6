//! The one path from text to tokens: demonstrations, pairs and policy samples all take it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::conversation::{Completion, Conversation, Message, Prompt};
use crate::error::{Token, Tokens};
use crate::folder::{Folder, template_file};
use crate::guard::guarded;
use crate::template::ChatTemplate;
use crate::{DataError, Demonstration, EncodeOptions, TemplateChoice, TextFolder, TooLong};

mod chat;
mod encode;
mod fields;
mod plain;
mod retokenize;

use chat::ChatTemplates;
pub(crate) use encode::{Boundary, Noted, kept};

/// Turns prompts and completions into tokens, the same way for whoever wrote them.
///
/// A row is `prompt ids ++ completion ids ++ terminator`:
///
/// | prompt | prompt ids | completion ids | terminator |
/// |---|---|---|---|
/// | [`Prompt::Chat`] | the template up to where the assistant begins | what the template writes after it, up to its first stop token | that stop token |
/// | [`Prompt::Text`] | the text with the BOS the tokenizer adds, no template | the text | [`Encoder::terminator`] |
///
/// Without a template, a conversation of one user message is taken as text; any other is refused.
/// A template is checked when a conversation is first given to it: plain text does not need it.
///
/// Prompt and completion are tokenized as one text. The policy samples after the prompt's own
/// tokens, so where a token would span prompt and completion, both are tokenized separately, and
/// [`crate::report()`] counts and shows the row.
///
/// A field that the template does not write (`tools`, `tool_calls`, a message, …) is an error if it
/// would change what is learned, and is listed otherwise ([`EncodedSet::unwritten`]).
#[derive(Debug, Clone)]
pub struct Encoder {
    folder: PathBuf,
    tokenizer: Arc<Tokenizer>,
    chat: ChatTemplates,
    options: EncodeOptions,
    /// What the tokenizer puts before plain text: usually BOS or nothing.
    prefix: Vec<u32>,
    /// Tokens of a text after which the tokenizer neither adds nor drops a space, where it would at
    /// the start.
    anchor: Option<Vec<u32>>,
    /// The text of each token that splits text before it is tokenized.
    added: Arc<HashMap<u32, String>>,
    /// Those of them that are no text.
    special: Arc<HashSet<u32>>,
    stop_ids: Vec<u32>,
    terminator: u32,
    pad_id: u32,
    bos_id: Option<u32>,
    class: String,
    notes: Vec<String>,
}

/// The tokens of a prompt and its completion.
///
/// The completion's tokens are `input_ids[completion_start..]`. All of them are trained and scored,
/// the terminator included, whatever the padding token equals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    /// Prompt, completion and, if it was reached, the terminator.
    pub input_ids: Vec<u32>,
    /// Index of the completion's first token.
    pub completion_start: usize,
    /// Whether the last token is the terminator.
    pub terminated: bool,
    /// Whether the encoder cut the prompt or the completion.
    pub truncated: bool,
}

impl Encoded {
    /// `true` for the tokens that are trained and scored: `[B,T]` masks take rows like this one.
    pub fn completion_mask(&self) -> Vec<bool> {
        (0..self.input_ids.len()).map(|index| index >= self.completion_start).collect()
    }
}

/// Demonstrations as tokens, with what the limits did to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSet {
    /// Index among the demonstrations, and the tokens; in order.
    pub rows: Vec<(usize, Encoded)>,
    /// Demonstrations beyond the limits.
    pub dropped: Vec<Dropped>,
    /// Ids of the demonstrations that were cut.
    pub truncated: Vec<String>,
    /// Ids of the demonstrations whose prompt and completion are tokenized separately.
    pub separate: Vec<String>,
    /// Fields that the chat template does not write and that change nothing that is learned, with
    /// the number of demonstrations that have them.
    pub unwritten: BTreeMap<String, usize>,
}

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Its id.
    pub id: String,
    /// The limit it met, with the figures.
    pub reason: String,
}

/// How text becomes tokens, as saved beside a reward model: a reward is only comparable on texts that
/// were tokenized like those it was fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRecipe {
    /// The chat template's text; none for plain text.
    pub template: Option<String>,
    /// The template's text for conversations with tools, where there is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_template: Option<String>,
    /// The special tokens the template can name.
    pub special_tokens: BTreeMap<String, String>,
    /// What the template's `strftime_now` shows, in seconds since 1970.
    pub now: u64,
    /// Limit of a prompt.
    pub max_prompt_tokens: usize,
    /// Limit of a completion.
    pub max_completion_tokens: usize,
    /// What happens beyond the limits.
    pub too_long: TooLong,
    /// The tokens before plain text.
    pub prefix: Vec<u32>,
    /// The BOS token.
    pub bos_id: Option<u32>,
    /// The token that ends a completion.
    pub terminator: u32,
    /// Every token that ends a completion.
    pub stop_ids: Vec<u32>,
    /// Tokens of the tokenizer, to tell another one.
    pub vocab_size: usize,
}

impl Encoder {
    /// Reads `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`,
    /// `special_tokens_map.json`, `generation_config.json` and `config.json` of a model folder; all but
    /// the first may be missing.
    ///
    /// # Errors
    /// A missing or damaged file; no end token; a template file (`TemplateChoice::File`) that cannot
    /// be used. A template of the folder that does not compile, or that ends an answer with none of
    /// the stop tokens, is an error of the first conversation ([`DataError::UnusableTemplate`]).
    pub fn from_folder(model_folder: &Path, options: EncodeOptions) -> Result<Self, DataError> {
        Self::from_text_folder(&TextFolder::of_model(model_folder), options)
    }

    /// [`Encoder::from_folder`] for a model whose text files may be those of an adapter on it.
    ///
    /// # Errors
    /// As there.
    pub fn from_text_folder(text: &TextFolder, options: EncodeOptions) -> Result<Self, DataError> {
        options.check()?;
        let mut folder = Folder::read(text)?;
        // A clock before 1970 is a date as good as any: it only has to be the same for every row.
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let now = options.now.unwrap_or_else(clock);
        let (default, tools) = match &options.template {
            TemplateChoice::Auto => (folder.template.take(), folder.tool_template.take()),
            TemplateChoice::None => (None, None),
            TemplateChoice::File(path) => match template_file(path)? {
                Some(text) => (Some((text, path.clone())), None),
                None => {
                    let source = std::io::ErrorKind::NotFound.into();
                    return Err(DataError::Io { path: path.clone(), source });
                }
            },
        };
        let variables = folder.specials.clone();
        let named = matches!(options.template, TemplateChoice::File(_));
        let templates = ChatTemplates::new(default, tools, variables, now);
        let mut encoder = Self::new(folder, templates, options)?;
        // A file that the user names is meant to be used.
        match encoder.chat.take_fault(named) {
            Some(fault) => Err(fault),
            None => Ok(encoder),
        }
    }

    /// Restores the encoder of a recipe with the tokenizer of `model_folder`.
    ///
    /// # Errors
    /// As [`Encoder::from_folder`]; [`DataError::RecipeMismatch`] when the folder's tokenizer is
    /// another one.
    pub fn from_recipe(model_folder: &Path, recipe: TextRecipe) -> Result<Self, DataError> {
        let mut folder = Folder::read(&TextFolder::of_model(model_folder))?;
        folder.stop_ids.clone_from(&recipe.stop_ids);
        folder.bos_id = recipe.bos_id;
        let source =
            |text: &Option<String>| text.clone().map(|text| (text, "the text recipe".into()));
        let (default, tools) = (source(&recipe.template), source(&recipe.tool_template));
        let has_template = default.is_some() || tools.is_some();
        let variables = recipe.special_tokens.clone();
        let templates = ChatTemplates::new(default, tools, variables, recipe.now);
        let options = EncodeOptions {
            template: if has_template { TemplateChoice::Auto } else { TemplateChoice::None },
            max_prompt_tokens: recipe.max_prompt_tokens,
            max_completion_tokens: recipe.max_completion_tokens,
            too_long: recipe.too_long,
            now: Some(recipe.now),
        };
        options.check()?;
        let encoder = Self::new(folder, templates, options)?;
        let own = encoder.recipe();
        for (field, theirs, ours) in [
            ("vocab_size", recipe.vocab_size.to_string(), own.vocab_size.to_string()),
            ("terminator", recipe.terminator.to_string(), own.terminator.to_string()),
            ("prefix", format!("{:?}", recipe.prefix), format!("{:?}", own.prefix)),
        ] {
            if theirs != ours {
                let folder = model_folder.to_owned();
                return Err(DataError::RecipeMismatch {
                    folder,
                    field,
                    recipe: theirs,
                    found: ours,
                });
            }
        }
        Ok(encoder)
    }

    fn new(folder: Folder, chat: ChatTemplates, options: EncodeOptions) -> Result<Self, DataError> {
        let Some(&terminator) = folder.stop_ids.first() else {
            return Err(DataError::NoTerminator { folder: folder.path });
        };
        let added = folder.tokenizer.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
        let mut encoder = Self {
            folder: folder.path,
            tokenizer: Arc::new(folder.tokenizer),
            chat,
            options,
            prefix: Vec::new(),
            anchor: None,
            added: Arc::new(added.into_iter().map(|(id, token)| (id, token.content)).collect()),
            special: Arc::new(special),
            stop_ids: folder.stop_ids,
            terminator,
            pad_id: folder.pad_id.unwrap_or(terminator),
            bos_id: folder.bos_id,
            class: folder.class,
            notes: folder.notes,
        };
        encoder.prefix = encoder.find_prefix()?;
        encoder.anchor = encoder.find_anchor()?;
        encoder.check_templates();
        Ok(encoder)
    }

    /// Tries the templates on a short conversation: finds the terminator, or why a template cannot
    /// be used.
    fn check_templates(&mut self) {
        let Some(template) = self.chat.any() else { return };
        match self.probe(template) {
            Ok(terminator) => self.terminator = terminator,
            // A template may refuse this conversation and take those of the data.
            Err(DataError::Template { .. }) => {}
            Err(fault) => self.chat.set_fault(fault),
        }
    }

    /// The recipe to save beside a reward model.
    pub fn recipe(&self) -> TextRecipe {
        let text = |template: Option<&ChatTemplate>| template.map(|one| one.text().to_owned());
        let any = self.chat.any();
        TextRecipe {
            template: text(self.chat.default_template()),
            tool_template: text(self.chat.tool_template()),
            special_tokens: any.map(|one| one.variables().clone()).unwrap_or_default(),
            now: any.map_or(0, ChatTemplate::now),
            max_prompt_tokens: self.options.max_prompt_tokens,
            max_completion_tokens: self.options.max_completion_tokens,
            too_long: self.options.too_long,
            prefix: self.prefix.clone(),
            bos_id: self.bos_id,
            terminator: self.terminator,
            stop_ids: self.stop_ids.clone(),
            vocab_size: self.vocab_size(),
        }
    }

    /// The text of tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Decoding fails only in decoders no causal language model has; there is no text then.
        guarded(|| self.tokenizer.decode(ids, true).unwrap_or_default()).unwrap_or_default()
    }

    /// One token as text for people: specials by name, spaces as spaces; `<id>` if unknown.
    pub fn token(&self, id: u32) -> String {
        let Some(piece) = self.tokenizer.id_to_token(id) else {
            return format!("<{id}>");
        };
        if self.added.contains_key(&id) {
            return piece;
        }
        if self.anchor.is_some() {
            return piece.replace('▁', " ");
        }
        match self.tokenizer.decode(&[id], false) {
            // A part of a character has no text of its own.
            Ok(text) if !text.is_empty() && !text.contains('\u{FFFD}') => text,
            _ => piece,
        }
    }

    /// The tokenizer class that Transformers takes for the folder, without `Fast`; empty where it
    /// uses tokenizer.json as it is, whatever class the folder names.
    pub fn tokenizer_class(&self) -> &str {
        &self.class
    }

    /// The token that ends a completion.
    pub fn terminator(&self) -> u32 {
        self.terminator
    }

    /// Every token at which sampling stops, the terminator among them.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The filler of padded batches; often equal to the terminator, so no mask may be derived from it.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The token that begins a text, if the model has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// Number of tokens of the tokenizer; the model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The choices this encoder was made with.
    pub fn options(&self) -> &EncodeOptions {
        &self.options
    }

    /// The chat template that conversations without tools are written by, if there is one that can
    /// be used.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.chat.default_template()
    }

    /// Settings of the model folder that are not followed, and why the folder's chat template
    /// cannot be used, if it cannot.
    pub fn notes(&self) -> Vec<String> {
        let fault = self.chat.fault().map(|fault| {
            let mut text = format!("conversations cannot be used: {fault}");
            let mut cause = std::error::Error::source(&**fault);
            while let Some(next) = cause {
                text = format!("{text}: {next}");
                cause = next.source();
            }
            text
        });
        self.notes.iter().cloned().chain(fault).collect()
    }

    /// Whether a text of the prompt spells a special token.
    pub(crate) fn spells_special(&self, prompt: &Prompt) -> bool {
        let spells = |text: &str| {
            self.ids(text).is_ok_and(|ids| ids.iter().any(|id| self.special.contains(id)))
        };
        match prompt {
            Prompt::Text(text) => spells(text),
            Prompt::Chat(chat) => chat.messages.iter().any(|turn| spells(&turn.text())),
        }
    }

    fn shown(&self, ids: &[u32]) -> Tokens {
        Tokens(ids.iter().map(|&id| Token { id, text: self.token(id) }).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;
