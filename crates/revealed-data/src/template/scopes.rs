//! Jinja2's rule for a variable that a scope sets after a scope within it has read it.
//!
//! Jinja2 decides once per scope where a name comes from. If the first thing that a scope does with
//! a name is to set it, the name is undefined in that scope until then, also for the loops and
//! macros within it, and a value of that name from outside is hidden. minijinja finds the value from
//! outside. The translation of a template therefore sets such names to an undefined value where the
//! scope begins.

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
    /// How many `if` are open. What one of its branches sets comes from outside until then.
    ifs: usize,
    /// Names that a scope within read before this scope mentioned them.
    early: BTreeSet<String>,
}

/// A tag that is open.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    If,
    Scope,
    /// The `else` of a loop.
    LoopElse,
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

    /// Whether an `else` at this place belongs to a loop.
    pub(super) fn within_loop(&self) -> bool {
        self.open.last() == Some(&Open::Scope)
    }

    /// Whether this place is within the `else` of a loop.
    pub(super) fn within_loop_else(&self) -> bool {
        self.open.last() == Some(&Open::LoopElse)
    }

    /// Follows a tag, whose translation can set names at the byte `start`.
    pub(super) fn tag(&mut self, word: &str, nodes: &[Node], start: usize) {
        let place = |sign: &str| nodes.iter().position(|node| node.is(sign));
        let word_at = |word| nodes.iter().position(|node| node.name() == Some(word));
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
                self.open.push(Open::LoopElse);
            }
            "for" => {
                let (targets, rest) = nodes.split_at(word_at("in").unwrap_or(nodes.len()));
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
                self.open.push(Open::Scope);
            }
            "set" => {
                let (targets, values) = nodes.split_at(place("=").unwrap_or(nodes.len()));
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
            "macro" | "call" => self.function(word == "macro", nodes, start),
            "with" => {
                let parts: Vec<&[Node]> = nodes.split(|node| node.is(",")).collect();
                parts.iter().for_each(|part| self.read_all(part.get(2..).unwrap_or_default()));
                self.enter(start);
                parts.iter().for_each(|part| self.set_all(part.get(..1).unwrap_or_default()));
                self.open.push(Open::Scope);
            }
            "filter" | "generation" => {
                self.read_all(nodes.get(1..).unwrap_or_default());
                self.enter(start);
                self.open.push(Open::Scope);
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
            _ => self.read_all(nodes),
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
        self.open.push(Open::Scope);
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
        let mut within = false;
        while let Some(index) = at {
            let scope = &mut self.scopes[index];
            if scope.mentions(name) {
                return;
            }
            if within {
                scope.early.insert(name.to_owned());
            } else {
                scope.mention(name, First::Reads);
                within = true;
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
        self.scopes[self.current].mention(name, First::Sets);
    }

    /// The names that the template's own scope hides, and for scopes within it the place where the
    /// translation has to set names, last place first.
    pub(super) fn hidden(&self) -> (Vec<String>, Vec<(usize, Vec<String>)>) {
        let (mut own, mut within) = (Vec::new(), Vec::new());
        for scope in &self.scopes {
            let hides = |name: &&String| {
                scope.first.get(*name) == Some(&First::Sets) && !self.known_outside(scope, name)
            };
            let names: Vec<String> = scope.early.iter().filter(hides).cloned().collect();
            match scope.start {
                None => own = names,
                Some(start) if !names.is_empty() => within.push((start, names)),
                Some(_) => {}
            }
        }
        within.sort_by(|a, b| b.0.cmp(&a.0));
        (own, within)
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
    fn mentions(&self, name: &str) -> bool {
        self.first.contains_key(name)
    }

    fn mention(&mut self, name: &str, first: First) {
        if !self.mentions(name) {
            let first = if self.ifs > 0 { First::Reads } else { first };
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
