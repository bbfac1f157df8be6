//! Jinja2's expressions written for minijinja: the operators whose meaning differs become calls.
//!
//! The text of an expression is kept, with its line breaks, except for these:
//! - `a < b`, `a in b` and their like, `a + b`, `a ~ b`, `a % b`, `a ** b`, `-a`, `+a` become calls
//!   of functions;
//! - `x[a:b]`, `x[key]`, `x.name` where a Python type has a method of that name, and `loop.cycle()`
//!   become calls of methods;
//! - strings are decoded as Python decodes them.

use super::literal::rewrite_text;
use super::methods;
use super::tokens::{Kind, Node, Token};

/// Writes a list of expressions: what brackets enclose, or the rest of a tag.
pub(super) fn list(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let mut start = 0;
    for (at, node) in nodes.iter().enumerate() {
        if node.is(",") || node.is("=") || node.is(":") {
            expression(&nodes[start..at], out)?;
            verbatim(node, out)?;
            start = at + 1;
        }
    }
    expression(&nodes[start..], out)
}

/// Writes nodes as they are, except for the texts of strings.
pub(super) fn verbatim(node: &Node, out: &mut String) -> Result<(), String> {
    match node {
        Node::Token(token) => plain(token, out),
        Node::Group { .. } => group(node, out, list),
    }
}

fn plain(token: &Token, out: &mut String) -> Result<(), String> {
    out.push_str(token.space);
    match token.kind {
        Kind::Text => rewrite_text(token.text, out),
        _ => {
            out.push_str(token.text);
            Ok(())
        }
    }
}

fn group(
    node: &Node,
    out: &mut String,
    inner: impl FnOnce(&[Node], &mut String) -> Result<(), String>,
) -> Result<(), String> {
    let Node::Group { space, open, items, end_space } = node else { return Ok(()) };
    out.push_str(space);
    out.push(*open);
    inner(items, out)?;
    out.push_str(end_space);
    out.push(match open {
        '(' => ')',
        '[' => ']',
        _ => '}',
    });
    Ok(())
}

/// Whether the name at `at` is a keyword there: no attribute, filter or test.
fn is_keyword(nodes: &[Node], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|at| &nodes[at]);
    let is_word = |node: Option<&Node>, word: &str| node.and_then(Node::name) == Some(word);
    match before(1) {
        None => true,
        Some(node) if node.is(".") || node.is("|") => false,
        Some(node) if node.name() == Some("is") => false,
        Some(node) if node.name() == Some("not") => !is_word(before(2), "is"),
        Some(_) => true,
    }
}

/// One expression: conditions and `or`, `and`, `not` stay, and their operands are translated.
pub(super) fn expression(nodes: &[Node], out: &mut String) -> Result<(), String> {
    // `*` and `**` before an argument.
    let stars = usize::from(nodes.first().is_some_and(|node| node.is("*") || node.is("**")));
    nodes[..stars].iter().try_for_each(|node| verbatim(node, out))?;
    let nodes = &nodes[stars..];
    let mut start = 0;
    for at in 0..nodes.len() {
        let word = nodes[at].name().filter(|_| is_keyword(nodes, at));
        if matches!(word, Some("if" | "else" | "or" | "and")) {
            negation(&nodes[start..at], out)?;
            verbatim(&nodes[at], out)?;
            start = at + 1;
        }
    }
    negation(&nodes[start..], out)
}

fn negation(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let count = nodes.iter().take_while(|node| node.name() == Some("not")).count();
    nodes[..count].iter().try_for_each(|node| verbatim(node, out))?;
    comparison(&nodes[count..], out)
}

/// An operator between operands: where it begins, its nodes, and its text.
type Operator<'a> = (usize, usize, &'a str);

fn comparison(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let mut operators: Vec<Operator> = Vec::new();
    let mut at = 0;
    while at < nodes.len() {
        let word = nodes[at].name().filter(|_| is_keyword(nodes, at));
        let followed = nodes.get(at + 1).and_then(Node::name) == Some("in");
        match (&nodes[at], word) {
            (_, Some("in")) => operators.push((at, 1, "in")),
            (_, Some("not")) if followed => {
                operators.push((at, 2, "not in"));
                at += 1;
            }
            (Node::Token(token), _) if token.kind == Kind::Operator => {
                if matches!(token.text, "==" | "!=" | "<" | "<=" | ">" | ">=") {
                    operators.push((at, 1, token.text));
                }
            }
            _ => {}
        }
        at += 1;
    }
    if operators.iter().all(|(.., operator)| matches!(*operator, "==" | "!=")) {
        return joined(nodes, &operators, out, sum);
    }
    // A chain stops at the first comparison that does not hold.
    let chain = operators.len() > 1;
    out.push_str(if chain { " (" } else { "" });
    let mut start = 0;
    for (number, (at, count, operator)) in operators.iter().enumerate() {
        let end = operators.get(number + 1).map_or(nodes.len(), |(at, ..)| *at);
        let (left, right) = (&nodes[start..*at], &nodes[at + count..end]);
        needed(left, operator)?;
        needed(right, operator)?;
        out.push_str(if number > 0 { " and __compare__(" } else { " __compare__(" });
        sum(left, out)?;
        out.push_str(&format!(", '{operator}',"));
        sum(right, out)?;
        out.push(')');
        start = at + count;
    }
    out.push_str(if chain { ")" } else { "" });
    Ok(())
}

/// Writes the operands of `operators` with the operators as they are between them.
fn joined(
    nodes: &[Node],
    operators: &[Operator],
    out: &mut String,
    operand: fn(&[Node], &mut String) -> Result<(), String>,
) -> Result<(), String> {
    let mut start = 0;
    for (at, count, _) in operators {
        operand(&nodes[start..*at], out)?;
        nodes[*at..at + count].iter().try_for_each(|node| verbatim(node, out))?;
        start = at + count;
    }
    operand(&nodes[start..], out)
}

fn needed(operand: &[Node], operator: &str) -> Result<(), String> {
    match operand.first() {
        None => Err(format!("the operator {operator} lacks an operand")),
        Some(node) if node.name() == Some("not") => {
            Err(format!("the operator {operator} cannot be followed by not"))
        }
        Some(_) => Ok(()),
    }
}

/// Whether an operator at `at` has an operand before it.
fn is_binary(nodes: &[Node], at: usize) -> bool {
    match at.checked_sub(1).map(|at| &nodes[at]) {
        None => false,
        Some(Node::Token(token)) => token.kind != Kind::Operator,
        Some(Node::Group { .. }) => true,
    }
}

fn split<'a>(nodes: &[Node<'a>], operators: &[&str]) -> Vec<Operator<'a>> {
    let mut found = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Node::Token(token) = node
            && token.kind == Kind::Operator
            && operators.contains(&token.text)
            && is_binary(nodes, at)
        {
            found.push((at, 1, token.text));
        }
    }
    found
}

fn sum(nodes: &[Node], out: &mut String) -> Result<(), String> {
    called(nodes, &split(nodes, &["+", "-"]), ("+", "__add__"), concatenation, out)
}

/// Writes operands that are joined left to right: runs of one operator as calls of its function,
/// and other operators as they are.
fn called(
    nodes: &[Node],
    operators: &[Operator],
    function: (&str, &str),
    operand: fn(&[Node], &mut String) -> Result<(), String>,
    out: &mut String,
) -> Result<(), String> {
    let (own, name) = function;
    let Some(last) = operators.iter().rposition(|(.., operator)| *operator == own) else {
        return joined(nodes, operators, out, operand);
    };
    // The run of this operator that ends at the last one of it.
    let run = operators[..last].iter().rev().take_while(|(.., operator)| *operator == own).count();
    let first = last - run;
    let end = |number: usize| operators.get(number + 1).map_or(nodes.len(), |(at, ..)| *at);
    out.push_str(&format!(" {name}("));
    called(&nodes[..operators[first].0], &operators[..first], function, operand, out)?;
    for (number, (at, ..)) in operators.iter().enumerate().take(last + 1).skip(first) {
        let right = &nodes[at + 1..end(number)];
        needed(right, own)?;
        out.push(',');
        operand(right, out)?;
    }
    out.push(')');
    for (number, (at, ..)) in operators.iter().enumerate().skip(last + 1) {
        verbatim(&nodes[*at], out)?;
        operand(&nodes[at + 1..end(number)], out)?;
    }
    Ok(())
}

fn concatenation(nodes: &[Node], out: &mut String) -> Result<(), String> {
    called(nodes, &split(nodes, &["~"]), ("~", "__concat__"), product, out)
}

fn product(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let operators = split(nodes, &["*", "/", "//", "%"]);
    called(nodes, &operators, ("%", "__modulo__"), power, out)
}

/// Powers, left to right as in Jinja2.
fn power(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let operators = split(nodes, &["**"]);
    let Some((at, ..)) = operators.last() else { return signed(nodes, out) };
    let (base, exponent) = (&nodes[..*at], &nodes[at + 1..]);
    needed(base, "**")?;
    needed(exponent, "**")?;
    if base.first().is_some_and(|node| node.is("-")) && !is_number(exponent) {
        return Err("a sign before the base of ** needs brackets".to_owned());
    }
    out.push_str(" __power__(");
    power(base, out)?;
    out.push(',');
    signed(exponent, out)?;
    out.push(')');
    Ok(())
}

fn is_number(nodes: &[Node]) -> bool {
    matches!(nodes, [Node::Token(token)] if token.kind == Kind::Number)
}

/// A sign before an operand; filters apply to the signed value.
fn signed(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let Some(sign) = nodes.first().filter(|node| node.is("-") || node.is("+")) else {
        return operand(nodes, out);
    };
    let filters = nodes.iter().position(|node| node.is("|") || node.name() == Some("is"));
    let filters = filters.unwrap_or(nodes.len());
    let value = nodes.get(1..filters).unwrap_or_default();
    needed(value, if sign.is("-") { "-" } else { "+" })?;
    if sign.is("-") && is_number(value) {
        return nodes
            .iter()
            .take(1)
            .try_for_each(|node| verbatim(node, out))
            .and_then(|()| operand(&nodes[1..], out));
    }
    out.push_str(if sign.is("-") { " __negative__(" } else { " __positive__(" });
    signed(value, out)?;
    out.push(')');
    operand(&nodes[filters..], out)
}

/// A value with its attributes, items, calls, filters and tests.
fn operand(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let mut at = 0;
    // Behind a test's name, brackets are its argument.
    let mut after_test = false;
    while at < nodes.len() {
        let node = &nodes[at];
        let value_before = at > 0 && !after_test && is_binary(nodes, at);
        if node.is(".") {
            at += attribute(nodes, at, out)?;
            after_test = false;
            continue;
        }
        if after_test && node.name() == Some("is") {
            return Err("tests cannot be chained with is".to_owned());
        }
        match node.bracket() {
            Some('[') if value_before => subscript(node, out)?,
            Some('(') if at == 1 && nodes[0].name() == Some("loop") => {
                group(node, out, |items, out| {
                    out.push_str("__iter__(");
                    list(items, out)?;
                    out.push(')');
                    Ok(())
                })?;
            }
            _ => verbatim(node, out)?,
        }
        let test = |back: usize| {
            at.checked_sub(back).is_some_and(|before| nodes[before].name() == Some("is"))
        };
        let negated = at > 0 && nodes[at - 1].name() == Some("not") && test(2);
        after_test = node.name().is_some_and(|name| (test(1) && name != "not") || negated);
        at += 1;
    }
    Ok(())
}

/// `.name` or `.name(...)`; gives the number of nodes it took.
fn attribute(nodes: &[Node], at: usize, out: &mut String) -> Result<usize, String> {
    let Some(name) = nodes.get(at + 1).and_then(Node::name) else {
        verbatim(&nodes[at], out)?;
        nodes.get(at + 1).map_or(Ok(()), |node| verbatim(node, out))?;
        return Ok(2);
    };
    let called = nodes.get(at + 2).and_then(Node::bracket) == Some('(');
    let Node::Token(dot) = &nodes[at] else { return Ok(1) };
    out.push_str(dot.space);
    if called {
        out.push('.');
        match name {
            "cycle" => out.push_str("__cycle__"),
            _ => verbatim(&nodes[at + 1], out)?,
        }
    } else if methods::is_known(name) || name.starts_with('_') || name == "arguments" {
        out.push_str(&format!(".__attribute__('{name}')"));
    } else {
        out.push('.');
        verbatim(&nodes[at + 1], out)?;
    }
    Ok(2)
}

/// `[key]` or `[start:stop:step]` behind a value.
fn subscript(node: &Node, out: &mut String) -> Result<(), String> {
    let Node::Group { space, items, .. } = node else { return Ok(()) };
    let colons: Vec<usize> =
        items.iter().enumerate().filter(|(_, node)| node.is(":")).map(|(at, _)| at).collect();
    if !colons.is_empty() {
        if colons.len() > 2 {
            return Err("a slice has more than three parts".to_owned());
        }
        out.push_str(space);
        out.push_str(".__slice__(");
        let mut start = 0;
        for (number, end) in colons.into_iter().chain([items.len()]).enumerate() {
            if number > 0 {
                out.push(',');
            }
            match &items[start..end] {
                [] => out.push_str("none"),
                bound => expression(bound, out)?,
            }
            start = end + 1;
        }
        out.push(')');
        return Ok(());
    }
    let plain_key = match &items[..] {
        [Node::Token(key)] => match key.kind {
            Kind::Text => !methods::is_known(inside(key.text)),
            kind => kind == Kind::Number && key.text.bytes().all(|byte| byte.is_ascii_digit()),
        },
        _ => false,
    };
    if plain_key {
        return group(node, out, list);
    }
    // Several keys with commas between them are one tuple.
    let tuple = items.iter().any(|node| node.is(","));
    out.push_str(space);
    out.push_str(if tuple { ".__item__((" } else { ".__item__(" });
    list(items, out)?;
    out.push_str(if tuple { "))" } else { ")" });
    Ok(())
}

fn inside(quoted: &str) -> &str {
    &quoted[1..quoted.len() - 1]
}
