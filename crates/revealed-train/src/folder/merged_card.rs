//! The card of a full model that an adapter was merged into.

use std::fmt::Write;

use super::card::{Contents, PROVENANCE, front_matter, loading};

/// The card of a merged model. Provenance and figures are taken from the card of the adapter, if a run wrote one. `adapter` and
/// `base` are the paths of the two, `folder` is the name of the merged model.
pub fn merged_card(own: Option<&str>, [adapter, base]: [&str; 2], folder: &str) -> String {
    let of_run = own.and_then(|text| Some((base_of(text)?, &text[text.find(PROVENANCE)?..])));
    let mut text =
        front_matter(Contents::Policy, of_run.as_ref().map_or(base, |(base, _)| base.as_str()));
    text.push_str(match of_run {
        Some(_) => {
            "# Policy\n\nA causal language model, aligned from demonstrations alone: an adapter that `revealed merge` has merged into its base.\n"
        }
        None => "# Merged model\n\nA causal language model: an adapter that `revealed merge` has merged into its base.\n",
    });
    let name = serde_json::Value::from(folder).to_string();
    let load = loading("transformers", "AutoModelForCausalLM", &name);
    let _ = writeln!(text, "\n## Use\n\n```python\n{load}\n```\n");
    match of_run {
        Some((_, provenance)) => text.push_str(provenance),
        None => {
            let _ = writeln!(
                text,
                "{PROVENANCE}\n\n| | |\n|---|---|\n| base model | `{base}` |\n| adapter | `{adapter}` |\n\nThe licences of both apply."
            );
        }
    }
    text
}

/// The base model named in a card that a run wrote.
fn base_of(card: &str) -> Option<String> {
    let line = card.strip_prefix("---\nbase_model: ")?.lines().next()?;
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::card::card;
    use crate::recipe::Tuning;
    use crate::testing::World;

    #[test]
    fn a_merged_model_has_the_provenance_of_its_adapter_and_the_loading_code_of_a_full_model() {
        let world = World::new(Tuning::Lora, |_| {});
        let (end, _) = world.align();
        let own = card(Contents::PolicyAdapter, &end, &world.recipe, &world.task);
        let card = merged_card(Some(&own), ["run/policy", "model"], "merged");
        assert_eq!(base_of(&card), base_of(&own));
        assert_eq!(card.split(PROVENANCE).nth(1), own.split(PROVENANCE).nth(1));
        assert!(card.contains("AutoModelForCausalLM.from_pretrained(\"merged\")"), "{card}");
        assert!(card.contains("\nlibrary_name: transformers\n"), "{card}");
        for word in ["peft", "PEFT", "\"policy\""] {
            assert!(!card.contains(word), "{word} in {card}");
        }
    }

    #[test]
    fn an_adapter_without_a_card_of_a_run_is_named_with_its_base() {
        for own in [None, Some("# An adapter\n\n## How it was made\n\nBy hand.")] {
            let card = merged_card(own, ["their/adapter", "model"], "merged");
            assert_eq!(base_of(&card).as_deref(), Some("model"));
            assert!(card.contains("| adapter | `their/adapter` |"), "{card}");
            assert!(!card.contains("demonstrations") && !card.contains("By hand"), "{card}");
        }
    }
}
