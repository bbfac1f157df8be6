//! Jinja2's rule for a variable that a scope sets after a scope within it has read it.
//!
//! Jinja2 decides once per scope where a name comes from. If the first thing that a scope does with
//! a name is to set it, the name is undefined in that scope until then, also for the loops and
//! macros within it, and a value of that name from outside is hidden. minijinja finds the value
//! from outside. The translation of a template therefore sets such names to an undefined value where
//! the scope begins.
//!
//! It also does this: the `else` of a loop gets a scope, and a name that an iteration sets and a
//! macro or call block within reads is set again at the beginning of each iteration.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Kind, Node};

/// What a scope does first with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Reads,
    Sets,
}

#[derive(Debug, Default)]
struct Scope {
    parent: Option<usize>,
    /// Where the translation can set names when the scope begins; none for the template itself.
    start: Option<usize>,
    first: BTreeMap<String, First>,
    /// How many `if` are open.
    ifs: usize,
    /// Names that a scope within read before this scope mentioned them.
    early: BTreeSet<String>,
    /// Names that a scope within reads.
    within: BTreeSet<String>,
    /// Names that this scope sets.
    sets: BTreeSet<String>,
    is_loop: bool,
    /// Whether the translation gives it a scope of its own.
    with: bool,
}

/// A tag that is open.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    If,
    Loop,
    /// The `else` of a loop, and whether a `break` or `continue` in it leaves an iteration of an outer loop.
    LoopElse(bool),
    /// A macro or the body of a call.
    Call,
    With,
    /// A block of `set`, and the names that it sets at its end.
    Block(Vec<String>),
}

/// The scopes of a template, in the order in which they begin.
#[derive(Debug)]
pub(super) struct Scopes {
    scopes: Vec<Scope>,
    /// The scope that is open at this place of the template.
    current: usize,
    open: Vec<Open>,
}

impl Scopes {
    pub(super) fn new() -> Self {
        Self { scopes: vec![Scope::default()], current: 0, open: Vec::new() }
    }

    /// Before the end of a loop: whether the translation has to end a scope of its `else`.
    pub(super) fn close_loop_else(&mut self) -> Result<bool, String> {
        let scope = &mut self.scopes[self.current];
        match self.open.last() {
            Some(Open::LoopElse(_)) if scope.sets.is_empty() => Ok(false),
            Some(Open::LoopElse(false)) => {
                scope.with = true;
                Ok(true)
            }
            Some(Open::LoopElse(true)) => {
                Err("an else of a loop both sets a variable and leaves an outer loop".to_owned())
            }
            _ => Ok(false),
        }
    }

    /// `break` or `continue`, which minijinja cannot do from within a scope.
    fn jump(&mut self, word: &str) -> Result<(), String> {
        for open in self.open.iter_mut().rev() {
            match open {
                Open::Loop | Open::Call => return Ok(()),
                Open::LoopElse(jumps) => *jumps = true,
                Open::If => {}
                Open::With | Open::Block(_) => {
                    return Err(format!("{word} within with, set or filter is not supported"));
                }
            }
        }
        Ok(())
    }

    /// Follows a tag, whose translation can set names at the byte `start`.
    pub(super) fn tag(&mut self, word: &str, nodes: &[Node], start: usize) -> Result<(), String> {
        match word {
            "if" => {
                self.read_all(nodes);
                self.scopes[self.current].ifs += 1;
                self.open.push(Open::If);
            }
            "elif" => self.read_all(nodes),
            "else" if self.open.last() == Some(&Open::If) => {}
            "else" => {
                self.close();
                self.enter(start);
                self.open.pop();
                self.open.push(Open::LoopElse(false));
            }
            "for" => self.head_of_loop(nodes, start),
            "set" => self.assignment(nodes, start),
            "macro" | "call" => self.function(word == "macro", nodes, start),
            "with" => {
                let parts: Vec<&[Node]> = nodes.split(|node| node.is(",")).collect();
                parts.iter().for_each(|part| self.read_all(part.get(2..).unwrap_or_default()));
                self.enter(start);
                parts.iter().for_each(|part| self.set_all(part.get(..1).unwrap_or_default()));
                self.open.push(Open::With);
            }
            "filter" | "generation" => {
                self.read_all(nodes.get(1..).unwrap_or_default());
                self.enter(start);
                self.open.push(if word == "filter" { Open::With } else { Open::Call });
            }
            "endif" => {
                self.open.pop();
                let ifs = &mut self.scopes[self.current].ifs;
                *ifs = ifs.saturating_sub(1);
            }
            _ if word.starts_with("end") => {
                let opened = self.open.pop();
                self.close();
                if let Some(Open::Block(targets)) = opened {
                    targets.iter().for_each(|name| self.set(name));
                }
            }
            "break" | "continue" => self.jump(word)?,
            _ => self.read_all(nodes),
        }
        Ok(())
    }

    /// `targets in values if condition`.
    fn head_of_loop(&mut self, nodes: &[Node], start: usize) {
        let (targets, rest) = nodes.split_at(
            nodes.iter().position(|node| node.name() == Some("in")).unwrap_or(nodes.len()),
        );
        let condition = rest.iter().position(|node| node.name() == Some("if"));
        let (values, condition) = rest.split_at(condition.unwrap_or(rest.len()));
        self.read_all(values);
        // The condition has a scope of its own.
        self.enter(start);
        self.set_all(targets);
        self.read_all(condition);
        self.close();
        self.enter(start);
        self.set_all(targets);
        self.set("loop");
        let scope = &mut self.scopes[self.current];
        scope.is_loop = true;
        scope.sets.clear();
        self.open.push(Open::Loop);
    }

    /// `targets = values`, or the beginning of a block.
    fn assignment(&mut self, nodes: &[Node], start: usize) {
        let (targets, values) =
            nodes.split_at(nodes.iter().position(|node| node.is("=")).unwrap_or(nodes.len()));
        self.read_all(values);
        if values.is_empty() {
            let target = targets.split(|node| node.is("|")).next().unwrap_or_default();
            let target = names(target).into_iter().map(str::to_owned).collect();
            self.enter(start);
            self.open.push(Open::Block(target));
        } else {
            self.assign(targets);
        }
    }

    /// A macro, or the body of a call.
    fn function(&mut self, is_macro: bool, nodes: &[Node], start: usize) {
        let (name, nodes) = match nodes.split_first() {
            Some((name, rest)) if is_macro => (name.name(), rest),
            _ => (None, nodes),
        };
        let parameters = match nodes.first() {
            Some(Node::Group { items, .. }) => &items[..],
            _ => &[],
        };
        if is_macro {
            self.set(name.unwrap_or_default());
        } else {
            self.read_all(&nodes[usize::from(!parameters.is_empty())..]);
        }
        self.enter(start);
        for part in parameters.split(|node| node.is(",")) {
            self.set_all(part.get(..1).unwrap_or_default());
            self.read_all(part.get(2..).unwrap_or_default());
        }
        ["caller", "varargs", "kwargs"].iter().for_each(|name| self.set(name));
        self.open.push(Open::Call);
    }

    /// The targets of a `set`: names, or attributes of a namespace, which is read.
    fn assign(&mut self, targets: &[Node]) {
        match targets {
            [owner, dot, ..] if dot.is(".") => self.read_all(std::slice::from_ref(owner)),
            _ => self.set_all(targets),
        }
    }

    fn set_all(&mut self, targets: &[Node]) {
        names(targets).into_iter().for_each(|name| self.set(name));
    }

    /// Opens a scope whose names can be set at the byte `start` of the translation.
    fn enter(&mut self, start: usize) {
        let scope = Scope { parent: Some(self.current), start: Some(start), ..Scope::default() };
        self.current = self.scopes.len();
        self.scopes.push(scope);
    }

    fn close(&mut self) {
        self.current = self.scopes[self.current].parent.unwrap_or(0);
    }

    /// A name is read.
    fn read(&mut self, name: &str) {
        let mut at = Some(self.current);
        let mut known = false;
        while let Some(index) = at {
            let scope = &mut self.scopes[index];
            if index != self.current {
                scope.within.insert(name.to_owned());
            }
            known |= scope.first.contains_key(name);
            if !known {
                if index == self.current {
                    scope.mention(name, First::Reads);
                } else {
                    scope.early.insert(name.to_owned());
                }
            }
            at = scope.parent;
        }
    }

    /// All names of an expression are read.
    pub(super) fn read_all(&mut self, nodes: &[Node]) {
        for name in names(nodes) {
            self.read(name);
        }
    }

    /// A name is set.
    fn set(&mut self, name: &str) {
        // What only a branch sets comes from outside where that branch is not taken.
        if self.scopes[self.current].ifs > 0 {
            self.read(name);
        }
        let scope = &mut self.scopes[self.current];
        scope.mention(name, First::Sets);
        scope.sets.insert(name.to_owned());
    }

    /// The names that the template's own scope hides from the values it is given.
    pub(super) fn hidden(&self) -> Vec<String> {
        self.hidden_by(&self.scopes[0])
    }

    fn hidden_by(&self, scope: &Scope) -> Vec<String> {
        let hides = |name: &&String| {
            scope.first.get(*name) == Some(&First::Sets) && !self.known_outside(scope, name)
        };
        scope.early.iter().filter(hides).cloned().collect()
    }

    /// What the translation has to insert where scopes begin, last place first.
    pub(super) fn insertions(&self) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        for scope in &self.scopes {
            let Some(start) = scope.start else { continue };
            let hidden = self.hidden_by(scope);
            let mut text = String::from(if scope.with { " %}{% with" } else { "" });
            // Macros and call blocks of minijinja would see what an earlier iteration set.
            let again = scope.sets.intersection(&scope.within).filter(|_| scope.is_loop);
            for name in again.filter(|name| !hidden.contains(name)) {
                text.push_str(&format!(" %}}{{% set {name} = {name}"));
            }
            for name in hidden {
                text.push_str(&format!(" %}}{{% set {name} = __undefined__"));
            }
            if !text.is_empty() {
                all.push((start, text));
            }
        }
        all.sort_by_key(|(start, _)| std::cmp::Reverse(*start));
        all
    }

    fn known_outside(&self, scope: &Scope, name: &str) -> bool {
        let mut at = scope.parent;
        while let Some(index) = at {
            if self.scopes[index].first.contains_key(name) {
                return true;
            }
            at = self.scopes[index].parent;
        }
        false
    }
}

impl Scope {
    fn mention(&mut self, name: &str, first: First) {
        if !self.first.contains_key(name) {
            self.first.insert(name.to_owned(), first);
        }
    }
}

const WORDS: [&str; 14] = [
    "if",
    "else",
    "or",
    "and",
    "not",
    "in",
    "is",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "recursive",
];

/// The variables that an expression reads.
fn names<'a>(nodes: &[Node<'a>]) -> Vec<&'a str> {
    let mut out = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        match node {
            Node::Group { items, .. } => out.extend(names(items)),
            Node::Token(token) if token.kind == Kind::Name => {
                let before = |back: usize| at.checked_sub(back).map(|at| &nodes[at]);
                let word = |node: Option<&Node>, word| node.and_then(Node::name) == Some(word);
                let after = |sign| before(1).is_some_and(|node| node.is(sign));
                let tests =
                    word(before(1), "is") || (word(before(1), "not") && word(before(2), "is"));
                let argument = nodes.get(at + 1).is_some_and(|node| node.is("="));
                if !(after(".") || after("|") || tests || argument || WORDS.contains(&token.text)) {
                    out.push(token.text);
                }
            }
            Node::Token(_) => {}
        }
    }
    out
}
