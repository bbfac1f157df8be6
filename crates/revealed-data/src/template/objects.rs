//! Objects of Python and Jinja2 that minijinja lacks: views, ranges, generators, methods as values.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, Value};
use minijinja::{Error, State};

use super::args::Arguments;
use super::methods;
use super::printing::repr;
use super::value::{invalid, pairs};

/// What a view of a dict shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Keys,
    Values,
    Items,
}

/// `dict.keys()`, `dict.values()` or `dict.items()`.
#[derive(Debug)]
pub(super) struct View {
    pub(super) shown: Shown,
    items: Vec<Value>,
}

impl View {
    pub(super) fn of(map: &Value, shown: Shown) -> Result<Value, Error> {
        let items = pairs(map)?.into_iter().map(|(key, value)| match shown {
            Shown::Keys => key,
            Shown::Values => value,
            Shown::Items => Value::from(Tuple::from([key, value])),
        });
        Ok(Value::from_object(Self { shown, items: items.collect() }))
    }

    /// Python's text of it, with `written` items.
    pub(super) fn text(&self, written: &str) -> String {
        let name = match self.shown {
            Shown::Keys => "dict_keys",
            Shown::Values => "dict_values",
            Shown::Items => "dict_items",
        };
        format!("{name}([{written}])")
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    /// Views have no items by number: Jinja2 gives an undefined value.
    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::UNDEFINED)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(&Value::from_dyn_object(self.clone())).unwrap_or_default())
    }
}

/// Python's `range`, within the sandbox's limit.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
}

impl Range {
    const LONGEST: usize = 100_000;

    pub(super) fn of(start: i64, stop: i64, step: i64) -> Result<Value, Error> {
        if step == 0 {
            return Err(invalid("range() arg 3 must not be zero"));
        }
        let range = Self { start, stop, step };
        if range.len() > Self::LONGEST {
            return Err(invalid(format!("range() is longer than {} items", Self::LONGEST)));
        }
        Ok(Value::from_object(range))
    }

    pub(super) fn len(&self) -> usize {
        let (low, high) =
            if self.step > 0 { (self.start, self.stop) } else { (self.stop, self.start) };
        if low >= high {
            return 0;
        }
        let span = i128::from(high) - i128::from(low);
        let step = i128::from(self.step).abs();
        usize::try_from((span + step - 1) / step).unwrap_or(usize::MAX)
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize().filter(|&index| index < self.len())?;
        Some(Value::from(self.start + i64::try_from(index).ok()? * self.step))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(&Value::from_dyn_object(self.clone())).unwrap_or_default())
    }
}

/// What Python gives out once: generators and `reversed`.
#[derive(Debug)]
pub(super) struct OneShot(Arc<Mutex<std::vec::IntoIter<Value>>>);

impl OneShot {
    pub(super) fn of(items: Vec<Value>) -> Value {
        Value::from_object(Self(Arc::new(Mutex::new(items.into_iter()))))
    }
}

impl Object for OneShot {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::UNDEFINED)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let items = self.0.clone();
        let next = move || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        Enumerator::Iter(Box::new(std::iter::from_fn(next)))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<generator object>")
    }
}

/// A group of the filter `groupby`: a tuple with names.
#[derive(Debug)]
pub(super) struct GroupTuple {
    pub(super) grouper: Value,
    pub(super) list: Value,
}

impl Object for GroupTuple {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_usize() {
            Some(0) => Some(self.grouper.clone()),
            Some(1) => Some(self.list.clone()),
            _ => key.as_str().and_then(|name| self.get_value_by_str(name)),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "grouper" => Some(self.grouper.clone()),
            "list" => Some(self.list.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![self.grouper.clone(), self.list.clone()])
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(&Value::from_dyn_object(self.clone())).unwrap_or_default())
    }
}

/// A method that was read and not called: `{% set get = message.get %}`.
#[derive(Debug)]
pub(super) struct BoundMethod {
    receiver: Value,
    name: String,
}

impl BoundMethod {
    pub(super) fn new(receiver: Value, name: &str) -> Self {
        Self { receiver, name: name.to_owned() }
    }
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        methods::call(state, &self.receiver, &self.name, args)
    }
}

/// Jinja2's `cycler`.
#[derive(Debug)]
pub(super) struct Cycler {
    items: Vec<Value>,
    position: Mutex<usize>,
}

impl Cycler {
    pub(super) fn of(items: Vec<Value>) -> Result<Value, Error> {
        if items.is_empty() {
            return Err(invalid("cycler needs at least one item"));
        }
        Ok(Value::from_object(Self { items, position: Mutex::new(0) }))
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let position = *self.position.lock().unwrap_or_else(PoisonError::into_inner);
        match key.as_str()? {
            "current" => Some(self.items[position].clone()),
            "items" => Some(Value::from(Tuple::from(self.items.clone()))),
            "pos" => Some(Value::from(position)),
            _ => None,
        }
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        Arguments::bind(args, &[])?;
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        match method {
            "next" => {
                let item = self.items[*position].clone();
                *position = (*position + 1) % self.items.len();
                Ok(item)
            }
            "reset" => {
                *position = 0;
                Ok(Value::from(()))
            }
            _ => Err(invalid(format!("a cycler has no method {method}"))),
        }
    }
}

/// Jinja2's `joiner`: nothing at its first call, then its separator.
#[derive(Debug)]
pub(super) struct Joiner {
    separator: Value,
    used: Mutex<bool>,
}

impl Joiner {
    pub(super) fn of(separator: Value) -> Value {
        Value::from_object(Self { separator, used: Mutex::new(false) })
    }
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        Arguments::bind(args, &[])?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(if std::mem::replace(&mut *used, true) {
            self.separator.clone()
        } else {
            Value::from("")
        })
    }
}
