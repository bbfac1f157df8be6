//! Short names of files, for figures and items.

use std::path::PathBuf;

/// Each file's name without folder and extension; with its extension, or the complete path, if two files would share a name.
pub fn file_names(files: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let whole = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let shortest = |path: &PathBuf| {
        let alone = |of: &dyn Fn(&PathBuf) -> Option<String>| {
            let name = of(path).filter(|name| !name.is_empty())?;
            let same = files.iter().filter(|other| of(other).as_ref() == Some(&name)).count();
            (same == 1).then_some(name)
        };
        alone(&stem).or_else(|| alone(&whole)).unwrap_or_else(|| path.display().to_string())
    };
    files.iter().map(shortest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_possible_and_unique() {
        let names =
            |paths: &[&str]| file_names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["d/arr.jsonl", "other.parquet"]), ["arr", "other"]);
        assert_eq!(names(&["arr.json", "d/arr.jsonl"]), ["arr.json", "arr.jsonl"]);
        assert_eq!(names(&["x/a.json", "y/a.json", "b.json"]), ["x/a.json", "y/a.json", "b"]);
    }
}
