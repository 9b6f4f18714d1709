//! Globs over namespaces.

use std::fmt;

use crate::error::{Error, ErrorKind};

const LONGEST: usize = 1024;
const MOST_PATTERNS: usize = 1024;
const DEEPEST: usize = 32;

/// A list of globs, compiled: a text matches if one of them matches the whole of it. An empty list matches nothing.
///
/// `*` and `**` stand for any run of characters (also `/`, also none), `?` for one character, `[abc]` and `[a-z]` for one
/// of these, `[!a-z]` for one that is none of these, `{a,b*}` for any of these patterns (they nest), and `\` takes the
/// special meaning from the character after it. Matching takes time in proportion to the text times the pattern, whatever
/// they are.
///
/// ```
/// use podtrail_watch::Globs;
///
/// let globs = Globs::new(["*-system", "{dev,prod}-*"])?;
/// assert!(globs.matches("kube-system") && globs.matches("dev-1"));
/// assert!(!globs.matches("kube-system-x"));
/// # Ok::<(), podtrail_watch::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Globs(Vec<Pattern>);

impl Globs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// If one is not a glob, is longer than 1,024 bytes or nests more than 32 deep, or there are more than 1,024 of them.
    /// The message names the pattern and the place in it.
    pub fn new<I: IntoIterator<Item: AsRef<str>>>(patterns: I) -> Result<Self, Error> {
        let mut compiled = Vec::new();
        for pattern in patterns {
            if compiled.len() == MOST_PATTERNS {
                return Err(Error::new(ErrorKind::Glob, "more than 1024 globs"));
            }
            compiled.push(Pattern::new(pattern.as_ref())?);
        }
        Ok(Self(compiled))
    }

    /// Globs that match everything.
    pub fn all() -> Self {
        Self(vec![Pattern { text: "*".to_owned(), program: vec![Op::Run, Op::Match] }])
    }

    /// Whether one of them matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }

    /// Whether there are none, so that nothing matches.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pattern| pattern.text.as_str())
    }
}

impl fmt::Debug for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.patterns()).finish()
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns().eq(other.patterns())
    }
}

impl Eq for Globs {}

/// Which namespaces are wanted: those that `include` matches and `exclude` does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a filter is these two")]
pub struct NamespaceFilter {
    /// What is wanted.
    pub include: Globs,
    /// What is not wanted even so.
    pub exclude: Globs,
}

impl NamespaceFilter {
    /// Whether this namespace is wanted.
    pub fn matches(&self, namespace: &str) -> bool {
        self.include.matches(namespace) && !self.exclude.matches(namespace)
    }
}

impl Default for NamespaceFilter {
    /// Every namespace.
    fn default() -> Self {
        Self { include: Globs::all(), exclude: Globs::default() }
    }
}

/// Splits a list of globs, as a command line gives it, at the commas that are outside braces, brackets and escapes.
/// Blanks around a glob and empty globs are left out.
///
/// ```
/// assert_eq!(podtrail_watch::split_list(r"{dev,prod}-*, kube-system"), ["{dev,prod}-*", "kube-system"]);
/// ```
pub fn split_list(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut in_class, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (at, c) in list.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[derive(Clone)]
struct Pattern {
    text: String,
    program: Vec<Op>,
}

/// One instruction; each but the jumps goes on to the next.
#[derive(Clone, Debug)]
enum Op {
    Char(char),
    AnyChar,
    /// Any run of characters.
    Run,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Try each of these.
    Split(Vec<usize>),
    Jump(usize),
    Match,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        let program = Compiler { text, rest: text.char_indices(), program: Vec::new() }.compile()?;
        Ok(Self { text: text.to_owned(), program })
    }

    /// Follows all ways through the program at once: the set of instructions that may be next.
    fn matches(&self, text: &str) -> bool {
        let mut now = States::new(self.program.len());
        let mut next = now.clone();
        now.add(0, &self.program);
        for c in text.chars() {
            for &at in &now.list {
                match &self.program[at] {
                    Op::Char(wanted) if *wanted == c => next.add(at + 1, &self.program),
                    Op::AnyChar => next.add(at + 1, &self.program),
                    Op::Run => next.add(at, &self.program),
                    Op::Class { negated, ranges }
                        if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated =>
                    {
                        next.add(at + 1, &self.program);
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
            if now.list.is_empty() {
                return false;
            }
        }
        now.list.iter().any(|&at| matches!(self.program[at], Op::Match))
    }
}

/// A set of places in a program.
#[derive(Clone)]
struct States {
    list: Vec<usize>,
    has: Vec<bool>,
    pending: Vec<usize>,
}

impl States {
    fn new(size: usize) -> Self {
        Self { list: Vec::with_capacity(size), has: vec![false; size], pending: Vec::new() }
    }

    /// Adds a place and all that can be reached from it without a character.
    fn add(&mut self, at: usize, program: &[Op]) {
        self.pending.push(at);
        while let Some(at) = self.pending.pop() {
            if std::mem::replace(&mut self.has[at], true) {
                continue;
            }
            self.list.push(at);
            match &program[at] {
                Op::Run => self.pending.push(at + 1),
                Op::Split(targets) => self.pending.extend(targets),
                Op::Jump(target) => self.pending.push(*target),
                _ => {}
            }
        }
    }

    fn clear(&mut self) {
        for at in self.list.drain(..) {
            self.has[at] = false;
        }
    }
}

struct Compiler<'p> {
    text: &'p str,
    rest: std::str::CharIndices<'p>,
    program: Vec<Op>,
}

/// An alternation whose end has not been reached.
struct Open {
    brace: usize,
    split: usize,
    starts: Vec<usize>,
    /// The jumps at the ends of its alternatives.
    ends: Vec<usize>,
}

impl Compiler<'_> {
    fn compile(mut self) -> Result<Vec<Op>, Error> {
        if self.text.len() > LONGEST {
            return Err(Error::new(
                ErrorKind::Glob,
                format_args!(
                    "glob {:?}… is longer than {LONGEST} bytes",
                    &self.text[..self.text.floor_char_boundary(64)]
                ),
            ));
        }
        let mut open: Vec<Open> = Vec::new();
        while let Some((at, c)) = self.rest.next() {
            match c {
                '\\' => {
                    let literal = self.escaped(at)?;
                    self.program.push(Op::Char(literal));
                }
                '*' if matches!(self.program.last(), Some(Op::Run)) => {}
                '*' => self.program.push(Op::Run),
                '?' => self.program.push(Op::AnyChar),
                '[' => {
                    let class = self.class(at)?;
                    self.program.push(class);
                }
                '{' if open.len() == DEEPEST => return Err(self.error(at, "braces nest more than 32 deep")),
                '{' => {
                    let split = self.program.len();
                    self.program.push(Op::Split(Vec::new()));
                    open.push(Open { brace: at, split, starts: vec![split + 1], ends: Vec::new() });
                }
                ',' if let Some(inner) = open.last_mut() => {
                    inner.ends.push(self.program.len());
                    self.program.push(Op::Jump(0));
                    inner.starts.push(self.program.len());
                }
                '}' if let Some(mut inner) = open.pop() => {
                    inner.ends.push(self.program.len());
                    self.program.push(Op::Jump(0));
                    let after = self.program.len();
                    for end in inner.ends {
                        self.program[end] = Op::Jump(after);
                    }
                    self.program[inner.split] = Op::Split(inner.starts);
                }
                literal => self.program.push(Op::Char(literal)),
            }
        }
        if let Some(inner) = open.last() {
            return Err(self.error(inner.brace, "a brace that is not closed"));
        }
        self.program.push(Op::Match);
        Ok(self.program)
    }

    fn escaped(&mut self, at: usize) -> Result<char, Error> {
        self.rest.next().map(|(_, c)| c).ok_or_else(|| self.error(at, "a backslash with nothing after it"))
    }

    fn class(&mut self, bracket: usize) -> Result<Op, Error> {
        let unclosed = "a bracket that is not closed";
        let mut negated = false;
        let mut ranges = Vec::new();
        // The low end of a range whose `-` has been read.
        let mut low = None;
        loop {
            let (at, c) = self.rest.next().ok_or_else(|| self.error(bracket, unclosed))?;
            let literal = match c {
                '!' if at == bracket + 1 => {
                    negated = true;
                    continue;
                }
                ']' => break,
                '-' if low.is_none() && !ranges.is_empty() => {
                    low = ranges.pop().map(|(low, _)| low);
                    continue;
                }
                '\\' => self.escaped(at)?,
                other => other,
            };
            match low.take() {
                Some(low) if low > literal => return Err(self.error(at, "a range that ends before it begins")),
                Some(low) => ranges.push((low, literal)),
                None => ranges.push((literal, literal)),
            }
        }
        if let Some(low) = low {
            // `[a-]` is these two characters.
            ranges.extend([(low, low), ('-', '-')]);
        }
        if ranges.is_empty() {
            return Err(self.error(bracket, "a bracket with nothing in it"));
        }
        Ok(Op::Class { negated, ranges })
    }

    fn error(&self, at: usize, what: &str) -> Error {
        Error::new(ErrorKind::Glob, format_args!("glob {:?} has {what}, at byte {at}", self.text))
    }
}

#[cfg(test)]
mod tests;
