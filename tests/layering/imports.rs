//! Imports between the files of one crate, read from the source text.
//!
//! An edge goes from a file to the file that defines a name it uses. `mod` declarations, re-exports (`pub use`)
//! and code under `#[cfg(test)]` are no edges; a name that is reached through a re-export or through the
//! imports of a parent module leads to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

type Module = Vec<String>;

struct Import {
    path: Vec<String>,
    name: String,
    reexport: bool,
}

struct Source {
    file: String,
    code: String,
    imports: Vec<Import>,
}

/// The files of a crate, by module path.
pub struct Crate {
    modules: BTreeMap<Module, Source>,
}

impl Crate {
    /// Reads the library or program under `src`.
    pub fn read(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let root = ["lib.rs", "main.rs"].map(|name| src.join(name));
        let root = root.iter().find(|file| file.exists()).expect("a crate root");
        read_module(root, vec![], src, &mut modules);
        Self { modules }
    }

    /// For every file the files whose definitions it uses.
    pub fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        let inline =
            Regex::new(r"\b[A-Za-z_][A-Za-z0-9_]*(?:\s*::\s*[A-Za-z_][A-Za-z0-9_]*)+").unwrap();
        let mut edges = BTreeMap::new();
        for (module, source) in &self.modules {
            let imported = source.imports.iter().filter(|import| !import.reexport);
            let mut paths: Vec<Vec<String>> = imported.map(|import| import.path.clone()).collect();
            paths.extend(inline.find_iter(&source.code).map(|found| segments(found.as_str())));
            let targets = paths.iter().filter_map(|path| self.definition(module, path, 0));
            let targets = targets.map(|target| self.modules[&target].file.clone());
            let others = targets.filter(|file| *file != source.file).collect();
            edges.insert(source.file.clone(), others);
        }
        edges
    }

    /// The module whose file defines what a path leads to; none for paths that leave the crate.
    fn definition(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > 20 {
            return None;
        }
        let (mut at, mut rest) = (from.clone(), path);
        let mut absolute = false;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" => at = vec![],
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            (absolute, rest) = (true, &rest[1..]);
        }
        while let Some(name) = rest.first() {
            let inner = [at.as_slice(), &[name.clone()]].concat();
            if !self.modules.contains_key(&inner) {
                break;
            }
            (absolute, at, rest) = (true, inner, &rest[1..]);
        }
        let name = rest.first().map(String::as_str);
        if !absolute {
            // A name of this file: the `use` that brought it is an edge already.
            return None;
        }
        match name {
            None | Some("*") => Some(at),
            Some(name) if self.defines(&at, name) => Some(at),
            Some(name) => Some(self.imported(&at, name, depth).unwrap_or(at)),
        }
    }

    fn defines(&self, module: &Module, name: &str) -> bool {
        let kinds = "fn|struct|enum|trait|type|const|static|union|macro_rules!|section!";
        let pattern = format!(r"\b(?:{kinds})\s+(?:mut\s+)?{name}\b");
        Regex::new(&pattern).unwrap().is_match(&self.modules[module].code)
    }

    fn imported(&self, module: &Module, name: &str, depth: usize) -> Option<Module> {
        let imports = &self.modules[module].imports;
        let named = imports.iter().find(|import| import.name == name);
        if let Some(import) = named {
            return self.definition(module, &import.path, depth + 1);
        }
        imports.iter().filter(|import| import.name == "*").find_map(|import| {
            let target = self.definition(module, &import.path, depth + 1)?;
            match self.defines(&target, name) {
                true => Some(target),
                false => self.imported(&target, name, depth + 1),
            }
        })
    }
}

/// A shortest cycle through the first file that is on one.
pub fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    edges.keys().find_map(|start| {
        let mut paths = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while !paths.is_empty() {
            let mut longer = Vec::new();
            for path in paths {
                for next in edges.get(path.last()?).into_iter().flatten() {
                    if next == start {
                        return Some(path);
                    }
                    if seen.insert(next.clone()) {
                        longer.push([path.as_slice(), &[next.clone()]].concat());
                    }
                }
            }
            paths = longer;
        }
        None
    })
}

fn read_module(file: &Path, module: Module, src: &Path, modules: &mut BTreeMap<Module, Source>) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let code = without_tests(&without_comments_and_texts(&text));
    let folder = match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().unwrap().to_path_buf(),
        _ => file.with_extension(""),
    };
    let children = Regex::new(r"\bmod\s+([a-z_0-9]+)\s*;").unwrap();
    for child in children.captures_iter(&code) {
        let name = &child[1];
        let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
        let found = candidates.iter().find(|candidate| candidate.exists());
        let inner = [module.as_slice(), &[name.to_owned()]].concat();
        read_module(found.expect("a file of the module"), inner, src, modules);
    }
    let shown = file.strip_prefix(src).unwrap().display().to_string();
    let imports = imports(&code);
    let code = Regex::new(r"\buse\s[^;]*;").unwrap().replace_all(&code, "").into_owned();
    modules.insert(module, Source { file: shown, code, imports });
}

fn imports(code: &str) -> Vec<Import> {
    let uses = Regex::new(r"(pub(?:\s*\([^)]*\))?\s+)?\buse\s+([^;]*);").unwrap();
    let mut all = Vec::new();
    for found in uses.captures_iter(code) {
        let reexport = found.get(1).is_some();
        let tree: String = found[2].replace(" as ", "@").split_whitespace().collect();
        expand("", &tree, &mut |path, name| {
            all.push(Import { path: segments(path), name: name.to_owned(), reexport });
        });
    }
    all
}

/// Calls `take` with path and local name of every leaf of a `use` tree without spaces, `@` in place of `as`.
fn expand(prefix: &str, tree: &str, take: &mut impl FnMut(&str, &str)) {
    let mut depth = 0;
    let mut start = 0;
    let mut parts = Vec::new();
    for (index, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, inner)) => {
                expand(&format!("{prefix}{head}"), inner.strip_suffix('}').unwrap(), take);
            }
            None => {
                let (path, alias) = part.split_once('@').unwrap_or((part, ""));
                let path = format!("{prefix}{path}");
                let path = path.strip_suffix("::self").unwrap_or(&path);
                let last = path.rsplit("::").next().unwrap();
                take(path, if alias.is_empty() { last } else { alias });
            }
        }
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(|name| name.trim().to_owned()).collect()
}

fn without_comments_and_texts(text: &str) -> String {
    let pattern = r##"(?s)//[^\n]*|/\*.*?\*/|\br#*"|b?"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\\n])'"##;
    let tokens = Regex::new(pattern).unwrap();
    let (mut kept, mut at) = (String::new(), 0);
    while let Some(found) = tokens.find_at(text, at) {
        kept.push_str(&text[at..found.start()]);
        at = found.end();
        // A raw text ends at its quote with as many hashes.
        if let Some(hashes) = found.as_str().strip_prefix('r').and_then(|r| r.strip_suffix('"')) {
            let end = format!("\"{hashes}");
            at += text[at..].find(&end).expect("a closed raw text") + end.len();
        }
        kept.push(' ');
    }
    kept.push_str(&text[at..]);
    kept
}

/// Without the items that `#[cfg(test)]` or `#[cfg(any(test, …))]` stands before.
fn without_tests(code: &str) -> String {
    let attribute = Regex::new(r"#\[cfg\((?:test|any\(test[^\]]*)\)\]").unwrap();
    let (mut kept, mut at) = (String::new(), 0);
    while let Some(found) = attribute.find_at(code, at) {
        kept.push_str(&code[at..found.start()]);
        at = found.end();
        let mut depth = 0;
        for (index, letter) in code[at..].char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(letter, '}' | ';') {
                at += index + 1;
                break;
            }
        }
    }
    kept.push_str(&code[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> Crate {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Crate::read(folder.path())
    }

    fn cycle_of(files: &[(&str, &str)]) -> Option<Vec<String>> {
        cycle(&crate_of(files).edges())
    }

    #[test]
    fn a_parent_that_calls_a_child_that_uses_its_type_is_a_cycle() {
        let child = "use super::Shape;\npub fn area(_: Shape) {}";
        let parent = "mod a;\npub struct Shape;\npub fn go() { a::area(Shape) }";
        let found = cycle_of(&[("lib.rs", parent), ("a.rs", child)]).unwrap();
        assert_eq!(found, ["a.rs", "lib.rs"]);
    }

    #[test]
    fn a_reexport_leads_to_the_defining_file() {
        let lib = "mod a;\nmod b;\npub use a::One;\npub use b::two;";
        let (a, b) = ("pub struct One;", "use crate::One;\npub fn two(_: One) {}");
        let files = [("lib.rs", lib), ("a.rs", a), ("b.rs", b)];
        assert_eq!(cycle_of(&files), None);
        assert!(crate_of(&files).edges()["b.rs"].contains("a.rs"));
        let back = "pub struct One;\nfn f() { crate::two(One) }";
        assert_eq!(cycle_of(&[("lib.rs", lib), ("a.rs", back), ("b.rs", b)]).unwrap().len(), 2);
    }

    #[test]
    fn tests_comments_and_texts_are_no_edges() {
        let a = "pub struct One;\n// crate::b::two\nconst T: &str = \"crate::b::two\";\n#[cfg(test)]\nmod tests { use crate::b::two; }";
        let b = "use crate::a::{One as Uno, self};\npub fn two(_: Uno) {}";
        assert_eq!(cycle_of(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]), None);
    }
}
