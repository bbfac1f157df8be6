//! Fields of `config.json` that nothing reads.

use serde_json::Value;

use super::HfConfig;
use super::{families, signs};
use crate::layers::rope;

impl HfConfig {
    /// Fields with a value that the model's class does not read, so that it cannot change a result;
    /// fields that every model has and that describe it only are left out. Empty where the
    /// `model_type` is not supported.
    ///
    /// Settings of rope that others override, or that its kind does not have, are named with the
    /// object that they are in: `rope_scaling.beta_fast`.
    pub fn ignored_fields(&self) -> Vec<String> {
        let Ok(model_type) = self.model_type() else { return Vec::new() };
        let read = families::read_by(model_type);
        if read.is_empty() {
            return Vec::new();
        }
        let says_something = |field: &str, value: &Value| {
            !signs::is_off(value) && !field.starts_with('_') && !families::GENERAL.contains(&field)
        };
        let names = self.fields.iter().filter(|(field, value)| {
            says_something(field, value) && !read.contains(&field.as_str())
        });
        let mut names: Vec<String> = names.map(|(field, _)| field.clone()).collect();
        names.extend(rope::unread(self));
        names.sort_unstable();
        names.dedup();
        names
    }
}
