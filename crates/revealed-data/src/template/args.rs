//! Arguments bound to parameters by position and name, as Python binds them.

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};

use super::value::{Type, as_integer, invalid, type_of};

/// The values of a function's parameters, in the order of its signature.
pub(super) struct Arguments<'a> {
    names: &'a [&'a str],
    values: Vec<Option<Value>>,
}

/// The keyword arguments of a call, in order.
pub(super) type Named = Vec<(String, Value)>;

/// The positional arguments and the keyword arguments of a call.
pub(super) fn split(args: &[Value]) -> Result<(&[Value], Named), Error> {
    let Some((last, positional)) = args.split_last().filter(|(last, _)| last.is_kwargs()) else {
        return Ok((args, Vec::new()));
    };
    let named = last.try_iter()?.map(|key| Ok((key.to_string(), last.get_item(&key)?)));
    Ok((positional, named.collect::<Result<_, Error>>()?))
}

impl<'a> Arguments<'a> {
    /// Binds `args` to the parameters `names`.
    pub(super) fn bind(args: &[Value], names: &'a [&'a str]) -> Result<Self, Error> {
        let (positional, named) = split(args)?;
        if positional.len() > names.len() {
            let message = format!("{} given, {} at most", positional.len(), names.len());
            return Err(Error::new(ErrorKind::TooManyArguments, message));
        }
        let mut values: Vec<Option<Value>> = positional.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        for (name, value) in named {
            let slot = names.iter().position(|known| *known == name).map(|at| &mut values[at]);
            match slot {
                Some(slot) if slot.is_none() => *slot = Some(value),
                Some(_) => return Err(invalid(format!("two values for the argument {name}"))),
                None => {
                    let message = format!("unknown keyword argument {name}");
                    return Err(Error::new(ErrorKind::TooManyArguments, message));
                }
            }
        }
        Ok(Self { names, values })
    }

    /// The value of parameter `at`, if one was given.
    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.values[at].as_ref()
    }

    /// The value of parameter `at`, which must be given.
    pub(super) fn required(&self, at: usize) -> Result<&Value, Error> {
        self.get(at).ok_or_else(|| {
            Error::new(ErrorKind::MissingArgument, format!("{} is not given", self.names[at]))
        })
    }

    /// A required string.
    pub(super) fn string(&self, at: usize) -> Result<&str, Error> {
        let value = self.required(at)?;
        value.as_str().ok_or_else(|| self.wrong(at, "a string"))
    }

    /// An optional string; `none` counts as not given.
    pub(super) fn optional_string(&self, at: usize) -> Result<Option<&str>, Error> {
        match self.get(at).filter(|value| !value.is_none()) {
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(at, "a string")),
            None => Ok(None),
        }
    }

    /// An optional integer; `none` counts as not given.
    pub(super) fn integer(&self, at: usize) -> Result<Option<i64>, Error> {
        match self.get(at).filter(|value| !value.is_none()) {
            Some(value) => {
                let number = as_integer(value).ok_or_else(|| self.wrong(at, "an integer"))?;
                // No length comes near this limit.
                let limit = i128::from(i64::MAX >> 1);
                Ok(Some(i64::try_from(number.clamp(-limit, limit)).unwrap_or(0)))
            }
            None => Ok(None),
        }
    }

    /// The truth of parameter `at`, which is false when it is not given.
    pub(super) fn truth(&self, at: usize) -> bool {
        self.get(at).is_some_and(Value::is_true)
    }

    fn wrong(&self, at: usize, wanted: &str) -> Error {
        let found = self.get(at).map_or(Type::Undefined, type_of);
        invalid(format!("{} must be {wanted}, not {}", self.names[at], found.name()))
    }
}
