//! Statements with named placeholders, translated into what a dialect takes.
//!
//! `:name` stands for a value, in our own statements and in configured queries. A list becomes as many placeholders as it has
//! values, for `IN (:ids)`, filled up to a power of two with its last value so that few different statements are prepared.
//! Text in quotes and comments stay as they are, `::` is PostgreSQL's cast.

use std::borrow::Cow;

use chat::{PortError, PortResult};

use crate::Dialect;

/// What a placeholder stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    /// An integer or NULL.
    Whole(Option<i64>),
    /// A text or NULL.
    Text(Option<Cow<'a, str>>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Integers for `IN (…)`; not empty.
    List(&'a [i64]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Whole(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Whole(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    /// NUL, which PostgreSQL cannot store, becomes a space.
    fn from(text: &'a str) -> Self {
        let text = if text.contains('\0') { Cow::Owned(text.replace('\0', " ")) } else { Cow::Borrowed(text) };
        Self::Text(Some(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl<'a> From<&'a [i64]> for Value<'a> {
    fn from(list: &'a [i64]) -> Self {
        Self::List(list)
    }
}

/// Values by the names of their placeholders.
pub(crate) type Values<'v, 'a> = &'v [(&'v str, Value<'a>)];

/// A single value, in the order of the dialect's placeholders.
#[derive(Debug)]
pub(crate) enum Bound<'v> {
    Whole(Option<i64>),
    Text(Option<&'v str>),
    Bytes(&'v [u8]),
}

/// `text` with the placeholders of `dialect`, and the values for them in order.
pub(crate) fn bind<'v>(text: &str, dialect: Dialect, values: Values<'v, '_>) -> PortResult<(String, Vec<Bound<'v>>)> {
    let mut sql = String::with_capacity(text.len() + 32);
    let mut bound = Vec::with_capacity(values.len());
    // Of each value the number of its first placeholder, where the dialect has numbers.
    let mut first: Vec<Option<usize>> = vec![None; values.len()];
    for piece in pieces(text, dialect) {
        let name = match piece {
            Piece::Code(text) | Piece::Quoted(text) => {
                sql.push_str(text);
                continue;
            }
            Piece::Placeholder(name) => name,
        };
        let Some(index) = values.iter().position(|(known, _)| *known == name) else {
            let known: Vec<String> = values.iter().map(|(name, _)| format!(":{name}")).collect();
            return Err(PortError::refused(format!("unknown placeholder :{name}: known are {}", known.join(", "))));
        };
        let value = &values[index].1;
        let count = if let Value::List(list) = value { list.len().next_power_of_two() } else { 1 };
        let repeated = dialect == Dialect::Postgres && first[index].is_some();
        let start = if repeated { first[index].unwrap_or_default() } else { bound.len() };
        first[index] = Some(start);
        for offset in 0..count {
            if offset > 0 {
                sql.push_str(", ");
            }
            match dialect {
                Dialect::MySql => sql.push('?'),
                Dialect::Postgres => {
                    sql.push('$');
                    sql.push_str(&(start + offset + 1).to_string());
                }
            }
            if !repeated {
                bound.push(single(value, offset));
            }
        }
    }
    Ok((sql, bound))
}

fn single<'v>(value: &'v Value<'_>, offset: usize) -> Bound<'v> {
    match value {
        Value::Whole(whole) => Bound::Whole(*whole),
        Value::Text(text) => Bound::Text(text.as_deref()),
        Value::Bytes(bytes) => Bound::Bytes(bytes),
        Value::List(list) => Bound::Whole(list.get(offset).or(list.last()).copied()),
    }
}

/// A stretch of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Keywords, names, numbers, operators.
    Code(&'t str),
    /// A text or name in quotes, or a comment, with its marks.
    Quoted(&'t str),
    /// A placeholder's name.
    Placeholder(&'t str),
}

/// Takes a statement apart.
pub(crate) fn pieces(text: &str, dialect: Dialect) -> Pieces<'_> {
    Pieces { rest: text, dialect }
}

/// The pieces of a statement.
pub(crate) struct Pieces<'t> {
    rest: &'t str,
    dialect: Dialect,
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut at = 0;
        while let Some(next) = self.rest[at..].chars().next() {
            let ahead = &self.rest[at..];
            let found = if ahead.starts_with("::") {
                at += 2;
                continue;
            } else if let Some(name) = placeholder(ahead) {
                (Piece::Placeholder(name), name.len() + 1)
            } else if let Some(length) = quoted(ahead, self.dialect) {
                (Piece::Quoted(&ahead[..length]), length)
            } else {
                at += next.len_utf8();
                continue;
            };
            if at > 0 {
                break;
            }
            self.rest = &self.rest[found.1..];
            return Some(found.0);
        }
        let (code, rest) = self.rest.split_at(at);
        self.rest = rest;
        Some(Piece::Code(code))
    }
}

fn placeholder(ahead: &str) -> Option<&str> {
    let name = ahead.strip_prefix(':')?;
    let length = name.bytes().take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
    (length > 0).then(|| &name[..length])
}

/// The length of what is quoted or a comment at the start of `ahead`, if it is one; what is not closed reaches to the end.
fn quoted(ahead: &str, dialect: Dialect) -> Option<usize> {
    let closed = |from: usize, mark: &str| ahead[from..].find(mark).map_or(ahead.len(), |at| from + at + mark.len());
    match ahead.as_bytes()[0] {
        quote @ (b'\'' | b'"' | b'`') => {
            // A doubled quote closes one text and opens the next, which comes to the same.
            let mut bytes = ahead.bytes().enumerate().skip(1);
            while let Some((at, byte)) = bytes.next() {
                if byte == b'\\' && dialect == Dialect::MySql && quote != b'`' {
                    bytes.next();
                } else if byte == quote {
                    return Some(at + 1);
                }
            }
            Some(ahead.len())
        }
        b'-' if ahead.starts_with("--") => Some(closed(2, "\n")),
        b'#' if dialect == Dialect::MySql => Some(closed(1, "\n")),
        b'/' if ahead.starts_with("/*") => Some(closed(2, "*/")),
        b'$' if dialect == Dialect::Postgres => {
            let tag = ahead[1..].find('$')?;
            let word = &ahead[1..=tag];
            let named = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (named && !word.starts_with(|c: char| c.is_ascii_digit())).then(|| closed(tag + 2, &ahead[..tag + 2]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(text: &str, dialect: Dialect) -> (String, usize) {
        let values = [("after", Value::from(1)), ("limit", Value::from(2)), ("ids", Value::List(&[7, 8, 9]))];
        let (sql, values) = bind(text, dialect, &values).expect("bound");
        (sql, values.len())
    }

    #[test]
    fn a_name_becomes_what_the_dialect_takes() {
        let text = "SELECT id FROM t WHERE id > :after AND x <> :after LIMIT :limit";
        let mysql = "SELECT id FROM t WHERE id > ? AND x <> ? LIMIT ?";
        assert_eq!(bound(text, Dialect::MySql), (mysql.to_owned(), 3));
        let postgres = "SELECT id FROM t WHERE id > $1 AND x <> $1 LIMIT $2";
        assert_eq!(bound(text, Dialect::Postgres), (postgres.to_owned(), 2));
    }

    #[test]
    fn a_list_is_filled_up_to_a_power_of_two() {
        assert_eq!(bound("IN (:ids)", Dialect::MySql), ("IN (?, ?, ?, ?)".to_owned(), 4));
        let twice = bound("IN (:ids) OR y IN (:ids) LIMIT :limit", Dialect::Postgres);
        assert_eq!(twice, ("IN ($1, $2, $3, $4) OR y IN ($1, $2, $3, $4) LIMIT $5".to_owned(), 5));
    }

    #[test]
    fn casts_quotes_and_comments_stay_as_they_are() {
        for text in
            ["a::after", "':after'", "\":after\"", "-- :after\nx", "/* :after */", "'it''s :after'", "x :: limit"]
        {
            for dialect in [Dialect::MySql, Dialect::Postgres] {
                assert_eq!(bound(text, dialect), (text.to_owned(), 0));
            }
        }
        assert_eq!(bound("$$ :after $$", Dialect::Postgres).1, 0);
        assert_eq!(bound("# :after\n`:after`", Dialect::MySql).1, 0);
        assert_eq!(bound(r"'\' :after'", Dialect::MySql).1, 0);
        assert_eq!(bound(r"'\' || :after", Dialect::Postgres).1, 1, "a backslash is a backslash");
        assert_eq!(bound(":after::bigint", Dialect::Postgres).0, "$1::bigint");
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let error = bind("SELECT :nobody", Dialect::MySql, &[("after", Value::from(1))]).expect_err("unknown");
        assert!(error.to_string().contains(":nobody") && error.to_string().contains(":after"), "{error}");
    }

    #[test]
    fn any_text_is_taken_apart_and_put_together_again() {
        let mut random = fastrand::Rng::with_seed(1);
        let alphabet = [":", "a", "'", "\"", "`", "--", "\n", "/*", "*/", "$", "$$", "\\", "é", "#", " ", "ids"];
        for _ in 0..5_000 {
            let text: String = (0..random.usize(0..14)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            for dialect in [Dialect::MySql, Dialect::Postgres] {
                let again: String = pieces(&text, dialect)
                    .map(|piece| match piece {
                        Piece::Code(text) | Piece::Quoted(text) => text.to_owned(),
                        Piece::Placeholder(name) => format!(":{name}"),
                    })
                    .collect();
                assert_eq!(again, text);
            }
        }
    }
}
