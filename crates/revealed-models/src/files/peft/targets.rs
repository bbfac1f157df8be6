//! Which modules an adapter's settings name, as PEFT decides it.

use serde_json::Value;

use super::pattern::Pattern;
use crate::error::ModelError;
use crate::files::config::HfConfig;

/// Names that are taken whole or as the last parts of a name, or one regular expression.
#[derive(Debug)]
enum Names {
    /// Every linear layer but the output head.
    AllLinear,
    List(Vec<String>),
    Pattern(Pattern),
}

impl Names {
    fn contain(&self, name: &str) -> Result<bool, String> {
        match self {
            Self::AllLinear => Ok(true),
            Self::List(names) => Ok(names.iter().any(|one| ends_with(name, one))),
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}

/// Whether `name` is `end`, or ends in it behind a dot.
fn ends_with(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Which of a model's modules get factors.
#[derive(Debug)]
pub(crate) struct Targets {
    names: Names,
    excluded: Option<Names>,
    /// Modules that are saved whole, which never get factors.
    saved: Vec<Pattern>,
    /// Numbers of layers, and the patterns that find a layer's number in a name.
    layers: Option<(Vec<i64>, Vec<Pattern>)>,
}

impl Targets {
    /// Reads `target_modules`, `exclude_modules`, `modules_to_save`, `layers_to_transform` and
    /// `layers_pattern`.
    pub fn read(config: &HfConfig) -> Result<Self, ModelError> {
        let names = match config.present("target_modules") {
            None => {
                return Err(config.wrong(
                    "target_modules",
                    "a list of layer names, \"all-linear\" or a regular expression; PEFT writes those that it chose",
                ));
            }
            Some(Value::String(word)) if word.eq_ignore_ascii_case("all-linear") => {
                Names::AllLinear
            }
            Some(_) => read_names(config, "target_modules")?,
        };
        if matches!(&names, Names::List(list) if list.is_empty()) {
            return Err(config.wrong("target_modules", "a list of layer names"));
        }
        let one_word =
            |names: &Names| matches!(names, Names::List(list) if list == &["all-linear"]);
        let names = if one_word(&names) { Names::AllLinear } else { names };
        let excluded = match config.present("exclude_modules") {
            None => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(_) => Some(read_names(config, "exclude_modules")?),
        };
        let mut saved = Vec::new();
        for name in texts(config, "modules_to_save")? {
            let pattern = Pattern::within(&name, r"(^|.*\.)", r"($|\..*)");
            saved.push(pattern.map_err(|reason| config.wrong("modules_to_save", &reason))?);
        }
        let layers = layers(config)?;
        Ok(Self { names, excluded, saved, layers })
    }

    /// Whether the module of this name gets factors.
    pub fn contain(&self, name: &str) -> Result<bool, String> {
        if let Some(excluded) = &self.excluded
            && excluded.contain(name)?
        {
            return Ok(false);
        }
        for saved in &self.saved {
            if saved.matches(name)? {
                return Ok(false);
            }
        }
        // A whole name counts in every layer.
        if matches!(&self.names, Names::List(names) if names.iter().any(|one| one == name)) {
            return Ok(true);
        }
        Ok(self.names.contain(name)? && self.in_layers(name)?)
    }

    /// Whether every linear layer but the output head is meant.
    pub fn all_linear(&self) -> bool {
        matches!(self.names, Names::AllLinear)
    }

    /// The names of a plain list.
    pub fn list(&self) -> &[String] {
        match &self.names {
            Names::List(names) => names,
            Names::AllLinear | Names::Pattern(_) => &[],
        }
    }

    fn in_layers(&self, name: &str) -> Result<bool, String> {
        let Some((numbers, patterns)) = &self.layers else { return Ok(true) };
        for pattern in patterns {
            if let Some(index) = pattern.index(name)? {
                return Ok(i64::try_from(index).is_ok_and(|index| numbers.contains(&index)));
            }
        }
        Ok(false)
    }
}

fn read_names(config: &HfConfig, field: &str) -> Result<Names, ModelError> {
    match config.present(field) {
        Some(Value::String(text)) => {
            match Pattern::whole(text) {
                Ok(pattern) => Ok(Names::Pattern(pattern)),
                Err(reason) => Err(config
                    .wrong(field, &format!("a regular expression or a list of names: {reason}"))),
            }
        }
        _ => Ok(Names::List(texts(config, field)?)),
    }
}

/// A list of texts; none where the setting is missing.
pub(crate) fn texts(config: &HfConfig, field: &str) -> Result<Vec<String>, ModelError> {
    let Some(value) = config.present(field) else { return Ok(Vec::new()) };
    let texts = value
        .as_array()
        .and_then(|items| items.iter().map(|item| item.as_str().map(String::from)).collect());
    texts.ok_or_else(|| config.wrong(field, "a list of names"))
}

type Layers = Option<(Vec<i64>, Vec<Pattern>)>;

fn layers(config: &HfConfig) -> Result<Layers, ModelError> {
    let field = "layers_to_transform";
    let numbers = match config.present(field) {
        None => None,
        Some(Value::Array(items)) => {
            let numbers: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
            Some(numbers.ok_or_else(|| config.wrong(field, "a layer's number or a list of them"))?)
        }
        Some(value) => {
            let number = value.as_i64();
            Some(vec![
                number.ok_or_else(|| config.wrong(field, "a layer's number or a list of them"))?,
            ])
        }
    };
    let patterns = match config.present("layers_pattern") {
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => texts(config, "layers_pattern")?,
    };
    let by_text = config.present("target_modules").is_some_and(Value::is_string);
    if by_text && (numbers.is_some() || !patterns.is_empty()) {
        let field = if numbers.is_some() { field } else { "layers_pattern" };
        return Err(config.wrong(field, "nothing where target_modules is a text, as PEFT asks for"));
    }
    if numbers.is_none() && !patterns.is_empty() {
        return Err(
            config.wrong("layers_pattern", "nothing without layers_to_transform, as PEFT asks for")
        );
    }
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else { return Ok(None) };
    const INDEX: &str = r"\.(?P<idx>\d+)\.";
    let compiled = match patterns.is_empty() {
        true => Pattern::within("", r".*?\.[^.]*", INDEX).map(|pattern| vec![pattern]),
        false => {
            let one = |text: &String| Pattern::within(text, r"(?:^|.*?\.)", INDEX);
            patterns.iter().map(one).collect()
        }
    };
    match compiled {
        Ok(patterns) => Ok(Some((numbers, patterns))),
        Err(reason) => Err(config.wrong("layers_pattern", &reason)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    /// Expressions that Python accepts and that are refused here, with what they hold.
    const REFUSED: [&str; 6] = ["(?x)", "(?a)", "{", "[[]", "&&", "\\161"];

    fn golden() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/adapters/patterns.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn bits(names: &Value, matches: impl Fn(&str) -> bool) -> String {
        let names = names.as_array().unwrap().iter();
        names.map(|name| if matches(name.as_str().unwrap()) { '1' } else { '0' }).collect()
    }

    #[test]
    fn expressions_match_the_names_that_python_matches() {
        let golden = golden();
        for pattern in golden["patterns"].as_array().unwrap() {
            let text = pattern["text"].as_str().unwrap();
            let forms = [
                ("whole", Pattern::whole(text)),
                ("key", Pattern::within(text, r"(.*\.)?(", r")$")),
            ];
            for (form, compiled) in forms {
                match (compiled, pattern[form].as_str()) {
                    (Ok(compiled), Some(right)) => {
                        let found = bits(&golden["names"], |name| compiled.matches(name).unwrap());
                        assert_eq!(found, right, "{form} {text}");
                    }
                    (Err(reason), Some(_)) => {
                        let known = REFUSED.iter().any(|part| text.contains(part));
                        assert!(known || pattern["whole"].is_null(), "{form}: {reason}");
                    }
                    // No adapter has an expression that PEFT cannot read.
                    (_, None) => {}
                }
            }
        }
    }

    #[test]
    fn settings_mean_the_modules_that_peft_adapts() {
        let golden = golden();
        for case in golden["settings"].as_array().unwrap() {
            let fields: Map<String, Value> = case["config"].as_object().unwrap().clone();
            let targets = Targets::read(&HfConfig::new("adapter_config.json", fields)).unwrap();
            let found = bits(&golden["names"], |name| targets.contain(name).unwrap());
            assert_eq!(found, case["targets"].as_str().unwrap(), "{}", case["config"]);
        }
    }
}
