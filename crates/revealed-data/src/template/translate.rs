//! A template of Transformers written for minijinja: the same text and lines, with the tags that
//! differ rewritten.

use minijinja::Error;

use super::environment::syntax_error;
use super::expression::{expression, list, verbatim};
use super::scopes::Scopes;
use super::tokens::{Node, Tag, tag};

/// A template for minijinja.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    /// Names whose values from outside the template does not see.
    pub(super) hidden: Vec<String>,
}

/// Rewrites the template `source`.
pub(super) fn translate(source: &str) -> Result<Translated, Error> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = &source[..];
    let mut macros = Vec::new();
    let mut scopes = Scopes::new();
    while let Some(at) = opening(rest) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let line = 1 + source[..source.len() - from.len()].matches('\n').count();
        let (open, body) = from.split_at(2);
        if open == "{#" {
            let end = body.find("#}").map(|end| end + 4);
            let end = end.ok_or_else(|| syntax_error(line, "a comment does not end"))?;
            out.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        let sign = usize::from(body.starts_with(['-', '+']));
        let close = if open == "{{" { "}}" } else { "%}" };
        let tag = tag(&body[sign..], close, line)?;
        let end = 2 + sign + tag.length;
        let start = &from[..2 + sign];
        if open == "{%" && matches!(&tag.nodes[..], [node] if node.name() == Some("raw")) {
            let raw = raw_block(start, &from[..end], &from[end..], tag.end, &mut out);
            let raw = raw.ok_or_else(|| syntax_error(line, "a raw block does not end"))?;
            rest = &from[end + raw..];
            continue;
        }
        rest = &from[end..];
        let at_line = |message: String| syntax_error(line, &message);
        let written = if open == "{{" {
            scopes.read_all(&tag.nodes);
            print(start, &tag, &mut out)
        } else {
            // minijinja has no scope for the `else` of a loop, which matters where it sets names.
            let word = tag.nodes.first().and_then(Node::name);
            if word == Some("endfor") && scopes.close_loop_else().map_err(&at_line)? {
                out.push_str(&format!("{start} endwith %}}"));
            }
            statement(start, &tag, rest, &mut macros, &mut out)
        };
        written.map_err(&at_line)?;
        if let ("{%", Some((word, nodes))) = (open, tag.nodes.split_first()) {
            let place = out.len() - tag.end.len() - 2;
            scopes.tag(word.name().unwrap_or_default(), nodes, place).map_err(&at_line)?;
        }
    }
    out.push_str(rest);
    let hidden = scopes.hidden();
    for (place, statements) in scopes.insertions() {
        out.insert_str(place, &statements);
    }
    Ok(Translated { text: out, hidden })
}

/// Where the next tag or comment opens.
fn opening(text: &str) -> Option<usize> {
    let found = text
        .match_indices('{')
        .find(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')));
    found.map(|(at, _)| at)
}

/// Writes a raw block as it is; gives the length of its text with its closing tag.
fn raw_block(
    start: &str,
    opening: &str,
    text: &str,
    tag_end: &str,
    out: &mut String,
) -> Option<usize> {
    let length = end_of_raw(text)?;
    // minijinja would drop a line break behind the tag, which Jinja2 keeps.
    match tag_end.ends_with('-') {
        true => out.push_str(opening),
        false => out.push_str(&format!("{start} raw +%}}")),
    }
    out.push_str(&text[..length]);
    Some(length)
}

/// The length of a raw block's text with its closing tag.
fn end_of_raw(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find("{%") {
        at += found + 2;
        let tag = text[at..].strip_prefix(['-', '+']).unwrap_or(&text[at..]).trim_start();
        if let Some(tag) = tag.strip_prefix("endraw") {
            let tag = tag.trim_start();
            let tag = tag.strip_prefix(['-', '+']).unwrap_or(tag);
            if let Some(tag) = tag.strip_prefix("%}") {
                return Some(text.len() - tag.len());
            }
        }
    }
    None
}

fn print(start: &str, tag: &Tag, out: &mut String) -> Result<(), String> {
    out.push_str(start);
    values(&tag.nodes, out)?;
    out.push_str(tag.end);
    out.push_str("}}");
    Ok(())
}

/// A value, or several with commas between them: a tuple.
fn values(nodes: &[Node], out: &mut String) -> Result<(), String> {
    if !nodes.iter().any(|node| node.is(",")) {
        return expression(nodes, out);
    }
    out.push_str(" (");
    list(nodes, out)?;
    out.push(')');
    Ok(())
}

fn statement(
    start: &str,
    tag: &Tag,
    rest_of_template: &str,
    macros: &mut Vec<Option<String>>,
    out: &mut String,
) -> Result<(), String> {
    let nodes = &tag.nodes[..];
    let (word, rest) = match nodes.split_first() {
        Some((first, rest)) => (first.name().unwrap_or_default(), rest),
        None => return Err("a tag has no name".to_owned()),
    };
    match word {
        "do" => return Err("the tag do is not enabled in chat templates".to_owned()),
        "autoescape" | "block" | "extends" | "include" | "import" | "from" => {
            return Err(format!("the tag {word} is not supported in chat templates"));
        }
        "print" => {
            // Its closing delimiter trims a line break, as that of every statement.
            out.push_str(start);
            out.push_str(" if true %}");
            for part in rest.split(|node| node.is(",")).filter(|part| !part.is_empty()) {
                out.push_str("{{");
                expression(part, out)?;
                out.push_str("}}");
            }
            out.push_str("{% endif");
        }
        "macro" => macros.push(macro_head(start, rest, rest_of_template, out)?),
        "endmacro" => {
            out.push_str(start);
            out.push_str(" endmacro");
            if let Some(wrapped) = macros.pop().flatten() {
                out.push_str(&format!(" %}}{{% set {wrapped}"));
            }
        }
        _ => {
            out.push_str(start);
            body(word, nodes, out)?;
        }
    }
    out.push_str(tag.end);
    out.push_str("%}");
    Ok(())
}

fn body(word: &str, nodes: &[Node], out: &mut String) -> Result<(), String> {
    let (first, rest) = nodes.split_at(1);
    match word {
        "generation" if rest.is_empty() => {
            out.push_str(space(&first[0]));
            out.push_str("call __generation__()");
            Ok(())
        }
        "endgeneration" => {
            out.push_str(space(&first[0]));
            out.push_str("endcall");
            Ok(())
        }
        "for" => {
            verbatim(&first[0], out)?;
            loop_head(rest, out)
        }
        "set" => {
            verbatim(&first[0], out)?;
            assignment(rest, out)
        }
        "with" => {
            verbatim(&first[0], out)?;
            with_head(rest, out)
        }
        "if" | "elif" | "call" => {
            verbatim(&first[0], out)?;
            list(rest, out)
        }
        "filter" => {
            verbatim(&first[0], out)?;
            list(rest, out)?;
            out.push_str(SCOPE);
            Ok(())
        }
        "endset" | "endfilter" => {
            out.push_str(&format!(" endwith %}}{{% {word}"));
            Ok(())
        }
        _ => nodes.iter().try_for_each(|node| verbatim(node, out)),
    }
}

/// Opens a scope in a block of `set` or `filter`: what is set there is not seen outside.
const SCOPE: &str = " %}{% with";

fn space<'a>(node: &Node<'a>) -> &'a str {
    match node {
        Node::Token(token) => token.space,
        Node::Group { space, .. } => space,
    }
}

/// `targets in values if condition recursive`.
fn loop_head(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let word = |nodes: &[Node], word: &str| nodes.iter().position(|n| n.name() == Some(word));
    let within = word(nodes, "in").ok_or("a for lacks its in")?;
    nodes[..=within].iter().try_for_each(|node| verbatim(node, out))?;
    let nodes = &nodes[within + 1..];
    let (nodes, end) = match nodes.split_last() {
        Some((last, before)) if last.name() == Some("recursive") && !before.is_empty() => {
            (before, Some(last))
        }
        _ => (nodes, None),
    };
    let condition = word(nodes, "if").unwrap_or(nodes.len());
    out.push_str(" __iter__(");
    values(&nodes[..condition], out)?;
    out.push(')');
    if let Some((keyword, condition)) = nodes[condition..].split_first() {
        verbatim(keyword, out)?;
        expression(condition, out)?;
    }
    end.map_or(Ok(()), |end| verbatim(end, out))
}

/// `targets = values`, or `target | filters` of a block.
fn assignment(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let ends = |node: &Node| node.is("=") || node.is("|");
    let end = nodes.iter().position(ends).unwrap_or(nodes.len());
    let (targets, rest) = nodes.split_at(end);
    let private = targets
        .windows(2)
        .find(|pair| pair[0].is(".") && pair[1].name().is_some_and(|name| name.starts_with('_')));
    if private.is_some() {
        return Err("a namespace's attribute cannot begin with an underscore".to_owned());
    }
    targets.iter().try_for_each(|node| verbatim(node, out))?;
    let owner = targets.windows(2).find(|pair| pair[1].is(".")).and_then(|pair| pair[0].name());
    match (rest.split_first(), owner) {
        (Some((equals, value)), Some(owner)) if equals.is("=") => {
            // Within a macro minijinja sees a namespace only where its value is read.
            out.push_str(" = __value__(");
            values(value, out)?;
            out.push_str(&format!(", {owner})"));
            Ok(())
        }
        (Some((equals, values)), _) if equals.is("=") => {
            verbatim(equals, out)?;
            list(values, out)
        }
        _ => {
            list(rest, out)?;
            out.push_str(SCOPE);
            Ok(())
        }
    }
}

/// `a = x, b = y`: the values see nothing of the names.
fn with_head(nodes: &[Node], out: &mut String) -> Result<(), String> {
    let parts: Vec<&[Node]> = nodes.split(|node| node.is(",")).collect();
    if parts.len() < 2 {
        return list(nodes, out);
    }
    let mut names = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let (target, value) = match part {
            [target, equals, value @ ..] if equals.is("=") => (target, value),
            _ => return Err("a with takes names and values".to_owned()),
        };
        out.push_str(&format!("{} __with{at}__ =", if at > 0 { "," } else { "" }));
        expression(value, out)?;
        names.push(target);
    }
    for (at, target) in names.into_iter().enumerate() {
        out.push(',');
        verbatim(target, out)?;
        out.push_str(&format!(" = __with{at}__"));
    }
    Ok(())
}

/// `name(parameters)`. Gives, where minijinja would bind the arguments in another way, the
/// assignment that has to follow the macro.
fn macro_head(
    start: &str,
    nodes: &[Node],
    rest_of_template: &str,
    out: &mut String,
) -> Result<Option<String>, String> {
    let [name, Node::Group { open: '(', items, .. }] = nodes else {
        return Err("a macro has a name and parameters in brackets".to_owned());
    };
    let name = name.name().ok_or("a macro has a name")?;
    let body = &rest_of_template[..rest_of_template.find("endmacro").unwrap_or(0)];
    let (varargs, kwargs) = (body.contains("varargs"), body.contains("kwargs"));
    let (mut parameters, mut defaults, mut set) = (Vec::new(), Vec::new(), String::new());
    for part in items.split(|node| node.is(",")).filter(|part| !part.is_empty()) {
        let parameter = part[0].name().ok_or("a macro's parameter has a name")?;
        parameters.push(parameter);
        defaults.push(part.len() > 1);
        match part {
            [_] if defaults.contains(&true) && !defaults[defaults.len() - 1] => {
                return Err(format!("the macro's parameter {parameter} needs a default"));
            }
            [_] => {}
            [_, equals, value @ ..] if equals.is("=") => {
                set.push_str(&format!("{{% if __missing__({parameter}) %}}{{% set {parameter} ="));
                expression(value, &mut set)?;
                set.push_str(" %}{% endif %}");
            }
            _ => return Err(format!("the macro's parameter {parameter} has no value")),
        }
    }
    let wrapped = varargs || kwargs || !set.is_empty();
    let quoted: Vec<String> = parameters.iter().map(|name| format!("'{name}'")).collect();
    let then = format!(
        "{name} = __macro__({name}, '{name}', [{}], {defaults:?}, {varargs}, {kwargs})",
        quoted.join(", ")
    );
    parameters.extend(varargs.then_some("varargs"));
    parameters.extend(kwargs.then_some("kwargs"));
    out.push_str(&format!("{start} macro {name}({})", parameters.join(", ")));
    if let Some(set) = set.strip_suffix(" %}") {
        out.push_str(&format!(" %}}{set}"));
    }
    Ok(wrapped.then_some(then))
}
