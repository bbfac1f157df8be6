//! The chat templates of a folder: the default one, and one for tools where there is one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::DataError;
use crate::conversation::Conversation;
use crate::folder::TemplateSource;
use crate::template::ChatTemplate;

/// What conversations are written by.
#[derive(Debug, Clone, Default)]
pub(super) struct ChatTemplates {
    default: Option<ChatTemplate>,
    /// Takes conversations with tools, as in Transformers.
    tools: Option<ChatTemplate>,
    /// Why none of them can be used.
    fault: Option<Arc<DataError>>,
}

impl ChatTemplates {
    /// Compiles the templates; one that does not compile is kept as a fault.
    pub(super) fn new(
        default: Option<TemplateSource>,
        tools: Option<TemplateSource>,
        variables: BTreeMap<String, String>,
        now: u64,
    ) -> Self {
        let compile = |source: Option<TemplateSource>| {
            let compiled = |(text, origin): TemplateSource| {
                ChatTemplate::new(&text, &origin, variables.clone(), now)
            };
            source.map(compiled).transpose()
        };
        match (compile(default), compile(tools)) {
            (Ok(default), Ok(tools)) => Self { default, tools, fault: None },
            (Err(fault), _) | (_, Err(fault)) => {
                Self { fault: Some(Arc::new(fault)), ..Self::default() }
            }
        }
    }

    pub(super) fn set_fault(&mut self, fault: DataError) {
        self.fault = Some(Arc::new(fault));
    }

    /// The fault as an error of its own, if `wanted`.
    pub(super) fn take_fault(&mut self, wanted: bool) -> Option<DataError> {
        Arc::into_inner(self.fault.take_if(|_| wanted)?)
    }

    pub(super) fn fault(&self) -> Option<&Arc<DataError>> {
        self.fault.as_ref()
    }

    /// The template for conversations without tools, if it can be used.
    pub(super) fn default_template(&self) -> Option<&ChatTemplate> {
        self.default.as_ref().filter(|_| self.fault.is_none())
    }

    /// The template of its own for conversations with tools, if it can be used.
    pub(super) fn tool_template(&self) -> Option<&ChatTemplate> {
        self.tools.as_ref().filter(|_| self.fault.is_none())
    }

    pub(super) fn any(&self) -> Option<&ChatTemplate> {
        self.default_template().or(self.tool_template())
    }

    /// The template that writes `chat`; none where the folder has none for it.
    pub(super) fn of(&self, chat: &Conversation) -> Result<Option<&ChatTemplate>, DataError> {
        if let Some(source) = &self.fault {
            return Err(DataError::UnusableTemplate { source: source.clone() });
        }
        let tools = self.tools.as_ref().filter(|_| chat.tools.is_some());
        match (tools.or(self.default.as_ref()), &self.tools) {
            (None, Some(tools)) => Err(DataError::Config {
                path: tools.origin().to_owned(),
                field: "chat_template",
                found: "the template \"tool_use\" alone".to_owned(),
                expected: "a template named \"default\" too, for conversations without tools",
            }),
            (template, _) => Ok(template),
        }
    }
}
