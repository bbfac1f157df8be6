//! Hugging Face and PEFT folders: configs, weights, adapters.

pub(crate) mod config;
pub(crate) mod folder;
pub(crate) mod hub;
pub(crate) mod output_head;
pub(crate) mod peft;
pub(crate) mod weights;
