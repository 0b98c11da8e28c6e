//! Rust text as far as the rules need it.

/// A function and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from its `fn` to its closing brace, both included.
    pub lines: usize,
}

/// The text with every comment, string and character literal replaced by spaces; lines stay where they are.
pub fn code_only(text: &str) -> String {
    let b = text.as_bytes();
    let mut out = b.to_vec();
    let mut at = 0;
    while at < b.len() {
        let end = literal_or_comment(b, at);
        if end == at {
            at += 1;
            continue;
        }
        for o in out.iter_mut().take(end).skip(at).filter(|o| **o != b'\n') {
            *o = b' ';
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` when none begins there.
fn literal_or_comment(b: &[u8], at: usize) -> usize {
    let rest = b.get(at..).unwrap_or_default();
    let word_before = at > 0 && b.get(at - 1).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    if rest.starts_with(b"\"") {
        return at + quoted(rest, b'"');
    }
    let raw = !word_before && (rest.starts_with(b"r\"") || rest.starts_with(b"r#") || rest.starts_with(b"br"));
    if raw && let Some(len) = raw_string(rest) {
        return at + len;
    }
    if rest.starts_with(b"'") && is_char(rest) {
        return at + quoted(rest, b'\'');
    }
    at
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0usize, 0);
    while i < rest.len() {
        match rest.get(i..i + 2) {
            Some(b"/*") => (depth, i) = (depth + 1, i + 2),
            Some(b"*/") => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// Length of a literal between two `quote`s, escapes passed over.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while let Some(c) = rest.get(i) {
        match c {
            b'\\' => i += 2,
            c if *c == quote => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let start = if rest.starts_with(b"br") { 2 } else { 1 };
    let hashes = rest.get(start..)?.iter().take_while(|c| **c == b'#').count();
    if rest.get(start + hashes) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = start + hashes + 1;
    let close = rest.get(body..)?.windows(end.len()).position(|w| w == end)?;
    Some(body + close + end.len())
}

/// True for a character literal, false for a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        // A lifetime has no closing quote right after its first character; a literal may be up to four octets long.
        Some(_) => {
            rest.iter().skip(2).take(4).any(|c| *c == b'\'') && {
                let word = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
                !rest.get(1).is_some_and(word) || rest.get(2) == Some(&b'\'')
            }
        }
        None => false,
    }
}

/// The text up to its tail of tests: the first `#[cfg(test)]` (or its like with loom) that begins a line and guards a
/// module with a body.
pub fn without_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|t| t.find("\n#[cfg(")) {
        let at = from + found + 1;
        let rest = text.get(at..).unwrap_or_default();
        let mut lines = rest.lines();
        let guard = lines.next().unwrap_or_default();
        let module = lines.find(|l| !l.starts_with("#[")).unwrap_or_default();
        if guard.contains("test") && module.starts_with("mod ") && module.ends_with('{') {
            return text.get(..at).unwrap_or(text);
        }
        from = at;
    }
    text
}

/// The functions with a body in code that went through [`code_only`]; a function inside another counts for both.
pub fn functions(code: &str) -> Vec<Function> {
    let b = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && b.get(at - 1).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            continue;
        }
        let name: String =
            code.get(at + 3..).unwrap_or_default().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(end) = body_end(b, at).filter(|_| !name.is_empty()) else { continue };
        let newlines = |range: &[u8]| range.iter().filter(|c| **c == b'\n').count();
        let line = newlines(b.get(..at).unwrap_or_default()) + 1;
        let lines = newlines(b.get(at..end).unwrap_or_default()) + 1;
        found.push(Function { name, line, lines });
    }
    found
}

/// Where the body of the function that begins at `at` ends; `None` for one without a body.
fn body_end(b: &[u8], at: usize) -> Option<usize> {
    let (mut braces, mut others) = (0i32, 0i32);
    for (i, c) in b.iter().enumerate().skip(at) {
        match c {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b';' if braces == 0 && others == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 && others == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_vanish_and_lifetimes_stay() {
        let text =
            "fn a<'x>(s: &'x str) { let c = '{'; let q = '\\''; /* } /* } */ */ let t = \"}\\\"}\"; r#\"}\"# } // }";
        let code = code_only(text);
        assert_eq!(code.matches('{').count(), 1, "{code}");
        assert_eq!(code.matches('}').count(), 1, "{code}");
        assert!(code.contains("<'x>") && code.contains("&'x str"), "{code}");
        assert_eq!(code.len(), text.len());
    }

    #[test]
    fn functions_are_measured() {
        let code = "trait T { fn no(&self) -> [u8; 4]; }\nfn one() {\n    if x {\n    }\n}\nfn two() { }";
        let f = functions(code);
        assert_eq!(f.len(), 2);
        assert_eq!((f[0].name.as_str(), f[0].line, f[0].lines), ("one", 2, 4));
        assert_eq!((f[1].name.as_str(), f[1].lines), ("two", 1));
    }

    #[test]
    fn the_tail_of_tests_is_cut_off() {
        let text = "fn a() {}\n#[cfg(test)]\nmod other;\nfn b() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert!(without_tests(text).ends_with("fn b() {}\n"));
    }
}
