//! Words of a value.

use crate::error::{Outcome, fail};

/// Whether a word ends before this character.
pub fn is_delimiter(byte: u8) -> bool {
    b":=, []{}!<>".contains(&byte)
}

/// The first word of `text`, its backslashes outside of quotes resolved, and what comes after it.
pub fn token(text: &str) -> Outcome<(String, &str)> {
    let mut word = String::new();
    let mut in_quotes = false;
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => {
                if in_quotes {
                    word.push('\\');
                }
                match characters.next() {
                    Some((_, escaped)) => word.push(escaped),
                    None => return fail(format!("{text}: backslash at end of argument")),
                }
            }
            _ if !in_quotes && u8::try_from(character).is_ok_and(is_delimiter) => {
                end = index;
                break;
            }
            _ => {
                word.push(character);
                in_quotes ^= character == '"';
            }
        }
    }
    if in_quotes {
        return fail(format!(
            "{text}: quoted string extends past end of argument"
        ));
    }
    Ok((word, &text[end..]))
}
