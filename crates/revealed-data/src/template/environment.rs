//! The environment of Transformers' chat templates: its filters, tests, globals and printing.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::args::{Arguments, split};
use super::macros::{Macro, is_missing};
use super::objects::{Cycler, Joiner, Range};
use super::value::{Type, invalid, items, pairs, type_of};
use super::{
    END, FUEL, START, checks, filters_number, filters_sequence, filters_text, json, methods,
    operators, pprint, printing, strftime, wrap,
};

/// The names of all filters.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "items",
    "map",
    "min",
    "max",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "tojson",
];

/// Filters that are not rendered, and why.
const REFUSED: &[(&str, &str)] =
    &[("random", "its result differs each time"), ("urlize", "it writes HTML")];

/// Functions that the translation of a template calls, and the globals of Jinja2.
const FUNCTIONS: &[&str] = &[
    "__iter__",
    "__add__",
    "__compare__",
    "__concat__",
    "__modulo__",
    "__power__",
    "__negative__",
    "__positive__",
    "__value__",
    "__macro__",
    "__missing__",
    "range",
    "dict",
    "cycler",
    "joiner",
    "lipsum",
    "raise_exception",
];

/// Builds the environment; `now` is what `strftime_now` shows, in seconds since 1970.
pub(super) fn build(now: u64) -> Result<Environment<'static>, Error> {
    // Its own namespace type is the only one that `{% set %}` can assign to.
    let with_namespace = Environment::new();
    let namespace = with_namespace.globals().find(|(name, _)| *name == "namespace");
    let namespace = namespace.map(|(_, value)| value).ok_or_else(|| invalid("no namespace"))?;

    let mut environment = Environment::empty();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax?);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(printing::write);
    environment.set_unknown_method_callback(methods::unknown_method);
    for name in FILTERS {
        environment.add_filter(*name, named("the filter", name, filter));
    }
    for name in checks::NAMES {
        environment.add_test(
            *name,
            named("the test", name, |state, name, args| {
                checks::holds(state, name, args).map(Value::from)
            }),
        );
    }
    for name in FUNCTIONS {
        environment.add_function(*name, named("", name, function));
    }
    environment.add_function(
        "strftime_now",
        named("", "strftime_now", move |_, _, args| {
            let args = Arguments::bind(args, &["format"])?;
            strftime::strftime(args.string(0)?, now).map(Value::from)
        }),
    );
    environment.add_function(
        "namespace",
        named("", "namespace", move |state, _, args| {
            let fields = dict(args)?;
            if let Some((name, _)) = pairs(&fields)?.iter().find(|(key, _)| is_private(key)) {
                return Err(invalid(format!("a namespace cannot have the attribute {name}")));
            }
            namespace.call(state, &[fields])
        }),
    );
    environment.add_function("__generation__", generation);
    Ok(environment)
}

fn is_private(key: &Value) -> bool {
    key.as_str().is_some_and(|name| name.starts_with('_'))
}

type Call = dyn Fn(&mut State, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync;

/// A filter, test or function whose errors begin with its name.
fn named(
    what: &'static str,
    name: &'static str,
    call: impl Fn(&mut State, &'static str, &[Value]) -> Result<Value, Error> + Send + Sync + 'static,
) -> Box<Call> {
    Box::new(move |state: &mut State, args: Rest<ValueOrKwargs>| {
        call(state, name, &args.into_values()).map_err(|error| {
            if name.starts_with("__") || name == "raise_exception" {
                return error;
            }
            let detail = error.detail().map_or_else(|| error.kind().to_string(), Into::into);
            let space = if what.is_empty() { "" } else { " " };
            let wrapped = Error::new(error.kind(), format!("{what}{space}{name}: {detail}"));
            wrapped.with_source(error)
        })
    })
}

fn filter(state: &mut State, name: &'static str, args: &[Value]) -> Result<Value, Error> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(invalid(format!("not supported, because {why}")));
    }
    match name {
        "abs" => filters_number::absolute(args),
        "int" => filters_number::int(args),
        "float" => filters_number::float(args),
        "round" => filters_number::round(args),
        "filesizeformat" => filters_number::file_size(args),
        "lower" | "upper" | "capitalize" | "center" | "trim" => {
            filters_text::as_method(state, name, args)
        }
        "title" => filters_text::title(args),
        "replace" => filters_text::replace(state, args),
        "join" => filters_text::join(state, args),
        "indent" => filters_text::indent(state, args),
        "truncate" => filters_text::truncate(args),
        "wordcount" => filters_text::word_count(args),
        "wordwrap" => wrap::word_wrap(args),
        "format" => filters_text::format(args),
        "escape" | "e" | "forceescape" | "safe" => filters_text::escape(name, args),
        "striptags" => filters_text::strip_tags(args),
        "urlencode" => filters_text::url_encode(args),
        "xmlattr" => filters_text::xml_attributes(args),
        "string" => {
            let args = Arguments::bind(args, &["s"])?;
            let value = args.required(0)?;
            if value.as_str().is_some() {
                return Ok(value.clone());
            }
            printing::text(value).map(Value::from)
        }
        "tojson" => json::tojson(args),
        "pprint" => pprint::pretty(args),
        _ => sequence_filter(state, name, args),
    }
}

fn sequence_filter(state: &mut State, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "attr" => filters_sequence::attribute(args),
        "batch" => filters_sequence::batch(state, args),
        "slice" => filters_sequence::slice(state, args),
        "default" | "d" => filters_sequence::default(args),
        "dictsort" => filters_sequence::dict_sort(args),
        "first" => filters_sequence::first(args),
        "last" => filters_sequence::last(args),
        "length" | "count" => filters_sequence::count(args),
        "list" => filters_sequence::list(args),
        "items" => filters_sequence::dict_items(args),
        "map" => filters_sequence::map(state, args),
        "min" | "max" => filters_sequence::extreme(name == "max", args),
        "reverse" => filters_sequence::reverse(args),
        "select" | "reject" | "selectattr" | "rejectattr" => {
            filters_sequence::select(state, name, args)
        }
        "sort" => filters_sequence::sort(args),
        "sum" => filters_sequence::sum(state, args),
        "unique" => filters_sequence::unique(args),
        "groupby" => filters_sequence::group_by(args),
        _ => Err(invalid("not known")),
    }
}

fn function(state: &mut State, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "__iter__" => iterated(args),
        "__compare__" => operators::compare(state, args),
        "__concat__" => operators::concat(state, args),
        "__add__" => operators::add(state, args),
        "__modulo__" => match args.split_first() {
            Some((left, rest)) => {
                rest.iter().try_fold(left.clone(), |left, right| operators::modulo(&left, right))
            }
            None => Err(invalid("% takes two values")),
        },
        "__power__" => match args {
            [left, right] => operators::power(left, right),
            _ => Err(invalid("** takes two values")),
        },
        "__negative__" | "__positive__" => match args {
            [value] => operators::signed(value, name == "__negative__"),
            _ => Err(invalid("a sign takes one value")),
        },
        "__value__" => Ok(args.first().cloned().unwrap_or_default()),
        "__macro__" => Macro::of(args),
        "__missing__" => Ok(Value::from(args.first().is_some_and(is_missing))),
        "range" => range(args),
        "dict" => dict(args),
        "cycler" => Cycler::of(args.to_vec()),
        "joiner" => {
            let args = Arguments::bind(args, &["sep"])?;
            Ok(Joiner::of(args.get(0).cloned().unwrap_or_else(|| Value::from(", "))))
        }
        "raise_exception" => {
            let args = Arguments::bind(args, &["message"])?;
            Err(invalid(printing::text(args.required(0)?)?))
        }
        _ => Err(invalid("not supported, because its result differs each time")),
    }
}

/// What a loop runs over: a list, so that its length is known.
fn iterated(args: &[Value]) -> Result<Value, Error> {
    let value = Arguments::bind(args, &["iterable"])?.required(0)?.clone();
    match type_of(&value) {
        Type::List | Type::Tuple | Type::Range => Ok(value),
        _ => items(&value).map(Value::from),
    }
}

fn range(args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args)?;
    if !named.is_empty() {
        return Err(invalid("takes no keyword arguments"));
    }
    let args = Arguments::bind(positional, &["start", "stop", "step"])?;
    let number = |at| args.integer(at)?.ok_or_else(|| invalid("needs integers"));
    args.required(0)?;
    match positional.len() {
        1 => Range::of(0, number(0)?, 1),
        2 => Range::of(number(0)?, number(1)?, 1),
        _ => Range::of(number(0)?, number(1)?, number(2)?),
    }
}

/// Python's `dict(...)`.
fn dict(args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args)?;
    let mut fields = match positional {
        [] => Vec::new(),
        [value] if type_of(value) == Type::Dict => pairs(value)?,
        [value] => {
            let pair = |item: Value| match &items(&item)?[..] {
                [key, value] => {
                    operators::hashable(key)?;
                    Ok((key.clone(), value.clone()))
                }
                _ => Err(invalid("dict needs pairs")),
            };
            items(value)?.into_iter().map(pair).collect::<Result<_, Error>>()?
        }
        _ => return Err(invalid("dict takes one value and keyword arguments")),
    };
    fields.extend(named.into_iter().map(|(name, value)| (Value::from(name), value)));
    Ok(Value::from_pairs(fields))
}

/// The tag `generation`, written as a call block, whose function sees the body as `caller`.
fn generation(state: &mut State, options: Kwargs) -> Result<Value, Error> {
    let caller: Value = options.get("caller")?;
    let body = caller.call(state, &[])?;
    match state.lookup("__marked").is_some_and(|marked| marked.is_true()) {
        true => Ok(Value::from(format!("{START}{body}{END}"))),
        false => Ok(body),
    }
}

/// An error of a template's syntax at a line.
pub(super) fn syntax_error(line: usize, message: &str) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("line {line}: {message}"))
}
