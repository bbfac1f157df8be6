//! The `configs` at the head of a data set's README: which files belong to which configuration and
//! split.

use yaml_rust2::{Yaml, YamlLoader};

/// Settings of a configuration that do not change which rows are read.
const HARMLESS: [&str; 6] =
    ["config_name", "data_files", "data_dir", "default", "version", "description"];

/// One configuration of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub name: String,
    pub default: bool,
    pub folder: Option<String>,
    /// Splits with the patterns of their files; none for the conventions of file names.
    pub files: Option<Vec<(String, Vec<String>)>>,
    /// Settings of how the files are read, which nobody here follows.
    pub reading: Vec<String>,
}

/// The configurations of a README, none where it has no metadata.
pub(crate) fn from_readme(text: &str) -> Result<Vec<Configuration>, String> {
    match head(text) {
        Some(yaml) => from_yaml(yaml),
        None => Ok(Vec::new()),
    }
}

/// The configurations of metadata.
pub(crate) fn from_yaml(text: &str) -> Result<Vec<Configuration>, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let Some(configs) = documents.first().map(|document| &document["configs"]) else {
        return Ok(Vec::new());
    };
    match configs {
        Yaml::BadValue | Yaml::Null => Ok(Vec::new()),
        Yaml::Array(configs) => configs.iter().map(configuration).collect(),
        _ => Err("`configs` is not a list".into()),
    }
}

/// What is between the two lines of three dashes at a text's beginning.
fn head(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches('\u{feff}').trim_start().strip_prefix("---")?;
    let start = rest.find('\n').filter(|at| rest[..*at].trim().is_empty())? + 1;
    let mut at = start;
    for line in rest[start..].split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']) == "---" {
            return Some(&rest[start..at]);
        }
        at += line.len();
    }
    None
}

fn configuration(entry: &Yaml) -> Result<Configuration, String> {
    let name = scalar(&entry["config_name"])
        .ok_or("an entry of `configs` has no `config_name` with a text")?;
    let fields = entry.as_hash().into_iter().flat_map(|fields| fields.keys());
    let reading = fields.filter_map(scalar).filter(|field| !HARMLESS.contains(&field.as_str()));
    let folder = match &entry["data_dir"] {
        Yaml::BadValue | Yaml::Null => None,
        folder => Some(scalar(folder).ok_or_else(|| wrong(&name, "`data_dir` is not a text"))?),
    };
    Ok(Configuration {
        default: entry["default"].as_bool() == Some(true),
        folder,
        files: data_files(&entry["data_files"]).map_err(|reason| wrong(&name, reason))?,
        reading: reading.collect(),
        name,
    })
}

fn wrong(name: &str, reason: &str) -> String {
    format!("configuration `{name}`: {reason}")
}

type Splits = Vec<(String, Vec<String>)>;

/// A pattern, a list of patterns (both of the split `train`), or a list of `split` and `path`.
fn data_files(value: &Yaml) -> Result<Option<Splits>, &'static str> {
    const FORMS: &str = "`data_files` is neither a pattern, nor a list of patterns, nor a list of `split` and `path`";
    match value {
        Yaml::BadValue | Yaml::Null => Ok(None),
        Yaml::String(pattern) => Ok(Some(vec![("train".into(), vec![pattern.clone()])])),
        Yaml::Array(items) if items.iter().all(|item| item.as_hash().is_some()) => {
            let mut splits: Splits = Vec::new();
            for item in items {
                let split = scalar(&item["split"]).ok_or(FORMS)?;
                if splits.iter().any(|(known, _)| *known == split) {
                    return Err("`data_files` has a split twice");
                }
                splits.push((split, patterns(&item["path"]).ok_or(FORMS)?));
            }
            Ok(Some(splits))
        }
        items => Ok(Some(vec![("train".into(), patterns(items).ok_or(FORMS)?)])),
    }
}

fn patterns(value: &Yaml) -> Option<Vec<String>> {
    match value {
        Yaml::String(pattern) => Some(vec![pattern.clone()]),
        Yaml::Array(items) => items.iter().map(|item| item.as_str().map(String::from)).collect(),
        _ => None,
    }
}

/// A name, which YAML may hold as a number or a word of its own.
fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(yaml: &str) -> Configuration {
        let readme = format!("---\nlicense: mit\nconfigs:\n{yaml}\n---\n# Text\n---\nconfigs: 7\n");
        from_readme(&readme).unwrap().remove(0)
    }

    #[test]
    fn data_files_are_read_in_each_of_their_forms() {
        let train = |patterns: &[&str]| {
            Some(vec![("train".to_owned(), patterns.iter().map(|p| (*p).to_owned()).collect())])
        };
        let form = |files: &str| one(&format!("- config_name: a\n  data_files: {files}")).files;
        assert_eq!(form("x.csv"), train(&["x.csv"]));
        assert_eq!(form("[x.csv, 'y/*']"), train(&["x.csv", "y/*"]));
        assert_eq!(form("\n  - split: train\n    path: x.csv"), train(&["x.csv"]));
        assert_eq!(form("\n  - split: train\n    path:\n    - x\n    - y"), train(&["x", "y"]));
        assert_eq!(one("- config_name: a\n  data_dir: sub").files, None);
    }

    #[test]
    fn settings_of_how_files_are_read_are_kept_by_name() {
        let found = one("- config_name: 7\n  default: true\n  sep: '|'\n  data_dir: d");
        assert_eq!((found.name.as_str(), found.default), ("7", true));
        assert_eq!((found.folder.as_deref(), found.reading), (Some("d"), vec!["sep".to_owned()]));
    }

    #[test]
    fn a_readme_without_metadata_has_no_configurations() {
        for text in
            ["", "# Title", "---\nno end\n", "text\n---\nconfigs: []\n---\n", "---\na: 1\n---"]
        {
            assert_eq!(from_readme(text), Ok(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn wrong_metadata_is_refused_by_name() {
        for (yaml, part) in [
            ("configs: 7", "`configs` is not a list"),
            ("configs:\n- data_files: x", "no `config_name`"),
            ("configs:\n- config_name: a\n  data_files: 7", "`a`: `data_files` is neither"),
            ("configs:\n- config_name: a\n  data_files:\n  - {split: x}", "`a`: `data_files` is"),
            ("a: [", "line"),
        ] {
            let reason = from_readme(&format!("---\n{yaml}\n---\n")).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
