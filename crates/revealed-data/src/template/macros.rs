//! Macros with defaults, `varargs` or `kwargs`, whose arguments minijinja binds in another way.
//!
//! Jinja2 evaluates a default in the macro, where it sees the arguments before it, and only where
//! an argument is missing: an undefined value that is passed stays undefined.

use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Tuple, Value};
use minijinja::{Error, ErrorKind, State};

use super::args::split;
use super::value::{invalid, items};

/// Marks an argument that was not given.
#[derive(Debug)]
struct Missing;

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// Whether a macro's argument was not given.
pub(super) fn is_missing(value: &Value) -> bool {
    value.downcast_object_ref::<Missing>().is_some()
}

/// A macro of minijinja that takes all its arguments by position.
#[derive(Debug)]
pub(super) struct Macro {
    inner: Value,
    name: String,
    parameters: Vec<String>,
    /// Whether each parameter has a default.
    defaults: Vec<bool>,
    varargs: bool,
    kwargs: bool,
}

impl Macro {
    /// Builds it from what the translation of a template passes: the macro, its name, its
    /// parameters, which of them have defaults, and whether it reads `varargs` and `kwargs`.
    pub(super) fn of(args: &[Value]) -> Result<Value, Error> {
        let [inner, name, parameters, defaults, varargs, kwargs] = args else {
            return Err(invalid("a macro has six parts"));
        };
        Ok(Value::from_object(Self {
            inner: inner.clone(),
            name: name.to_string(),
            parameters: items(parameters)?.iter().map(ToString::to_string).collect(),
            defaults: items(defaults)?.iter().map(Value::is_true).collect(),
            varargs: varargs.is_true(),
            kwargs: kwargs.is_true(),
        }))
    }
}

impl Object for Macro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "name" => Some(Value::from(self.name.as_str())),
            "arguments" => {
                let names: Vec<Value> = self.parameters.iter().map(Value::from).collect();
                Some(Value::from(Tuple::from(names)))
            }
            "catch_varargs" => Some(Value::from(self.varargs)),
            "catch_kwargs" => Some(Value::from(self.kwargs)),
            "caller" => self.inner.get_attr("caller").ok(),
            _ => None,
        }
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (positional, mut named) = split(args)?;
        let many = |what: String| {
            Error::new(ErrorKind::TooManyArguments, format!("macro {}: {what}", self.name))
        };
        let mut values = Vec::with_capacity(self.parameters.len() + 2);
        for (at, parameter) in self.parameters.iter().enumerate() {
            let by_name = named.iter().position(|(name, _)| name == parameter);
            values.push(match (positional.get(at), by_name) {
                (Some(_), Some(_)) => return Err(many(format!("two values for {parameter}"))),
                (Some(value), None) => value.clone(),
                (None, Some(by_name)) => named.remove(by_name).1,
                (None, None) if self.defaults[at] => Value::from_object(Missing),
                (None, None) => Value::UNDEFINED,
            });
        }
        let rest = positional.get(self.parameters.len()..).unwrap_or_default();
        if self.varargs {
            values.push(Value::from(Tuple::from(rest.to_vec())));
        } else if !rest.is_empty() {
            return Err(many(format!("{} arguments at most", self.parameters.len())));
        }
        let caller = named.iter().position(|(name, _)| name == "caller");
        let caller = caller.map(|at| named.remove(at));
        if self.kwargs {
            values.push(Value::from_pairs(named));
        } else if let Some((name, _)) = named.first() {
            return Err(many(format!("unknown keyword argument {name}")));
        }
        if let Some((name, value)) = caller {
            values.push(Value::from(Kwargs::from_iter([(name, value)])));
        }
        self.inner.call(state, &values)
    }
}
