//! Commands on the pages are commands of this program: every one parses.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "md") => pages.push(path),
                false => {}
            }
        }
    }
    pages
}

/// Lines of a page's `sh` blocks, continued ones joined.
fn shell_lines(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// Words as a shell would give them to the program: up to a comment, a redirection or the next command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), end) if open == end => quote = None,
            (Some(_), other) => word.get_or_insert_default().push(other),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#' | '>' | '|' | '&' | ';' | '<') if word.is_none() => break,
            (None, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words(r#"a --set 'k="v w"' b=""  # no"#), ["a", "--set", "k=\"v w\"", "b="]);
    assert_eq!(words("revealed recipe > recipe.toml"), ["revealed", "recipe"]);
    assert_eq!(words("revealed check x | head; rm y"), ["revealed", "check", "x"]);
}

#[test]
fn every_command_on_the_pages_parses() {
    let mut found = 0;
    for page in pages() {
        for line in shell_lines(&fs::read_to_string(&page).unwrap()) {
            let words = words(&line);
            let arguments = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["revealed", ..] => &words[1..],
                ["cargo", "run", "--release", "--", ..] => &words[4..],
                _ => continue,
            };
            found += 1;
            let command = std::iter::once("revealed".to_owned()).chain(arguments.iter().cloned());
            if let Err(error) = Cli::try_parse_from(command) {
                // `--help` and `--version` are no failure.
                assert_eq!(error.exit_code(), 0, "{}: {line}\n{error}", page.display());
            }
        }
    }
    assert!(found > 10, "{found} commands found: are the pages where they were?");
}
