//! `~` and `$NAME` in a path, as Python's `os.path.expanduser` and `os.path.expandvars` replace
//! them.

/// What an environment variable is set to.
pub(crate) type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces a leading `~` or `~user`, then `$NAME` and `${NAME}`.
pub(crate) fn expand(path: &str, vars: Vars) -> String {
    expand_vars(&expand_user(path, vars), vars)
}

/// A home folder instead of `~`; a user that the system does not know leaves the path as it is.
pub(crate) fn expand_user(path: &str, vars: Vars) -> String {
    let Some(rest) = path.strip_prefix('~') else { return path.into() };
    let (user, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let home = match user {
        "" => vars("HOME").or_else(own_home),
        user => home_of(user),
    };
    match home {
        Some(home) => {
            let whole = format!("{}{tail}", home.trim_end_matches('/'));
            if whole.is_empty() { "/".into() } else { whole }
        }
        None => path.into(),
    }
}

/// The home folder of this process's user where `HOME` is not set.
fn own_home() -> Option<String> {
    std::env::home_dir().and_then(|home| home.into_os_string().into_string().ok())
}

fn home_of(user: &str) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().map(|line| line.split(':')).filter_map(|mut fields| {
        let name = fields.next()?;
        Some((name, fields.nth(4)?))
    });
    fields.find(|(name, _)| *name == user).map(|(_, home)| home.to_owned())
}

/// A variable that is not set stays as it is written; a value is not expanded again.
fn expand_vars(path: &str, vars: Vars) -> String {
    let mut done = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = variable(after);
        match name.and_then(vars) {
            Some(value) => done.push_str(&value),
            None => done.push_str(&rest[at..at + 1 + length]),
        }
        rest = &after[length..];
    }
    done + rest
}

/// The variable's name after a `$`, and how many bytes it is written with.
fn variable(text: &str) -> (Option<&str>, usize) {
    if let Some(inside) = text.strip_prefix('{') {
        return match inside.find('}') {
            Some(end) => (Some(&inside[..end]), end + 2),
            None => (None, 0),
        };
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = text.find(|c| !word(c)).unwrap_or(text.len());
    ((length > 0).then(|| &text[..length]), length)
}
