//! Tokens: the words of matches and actions, each with its place in the text.
//!
//! Identifiers are `[A-Za-z_.][A-Za-z_.0-9]*`; strings are those of JSON; integers are decimal, `0x` hexadecimal, IPv4,
//! IPv6 or Ethernet addresses, with an optional `/mask` that follows at once; `//` comments run to the end of the line,
//! `/* */` comments stay within one.
//!
//! A run of hexadecimal digits with a colon after it begins an address, any other letter an identifier. In
//! `10.0.0.1:80` the address ends at the colon.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use addr::Mac;

use crate::constant::{Format, Int};
use crate::error::ParseError;

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 16 << 20;

/// A word of the language.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name without quotes.
    Ident(&'a str),
    /// A string, unescaped.
    Str(String),
    /// An integer, perhaps masked.
    Int(Int),
    /// `$name`
    AddressSet(&'a str),
    /// `@name`
    PortGroup(&'a str),
    /// `^name`
    Template(&'a str),
    /// One of [`PUNCTUATION`].
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Signs, the longer before those that begin alike.
const PUNCTUATION: &[&str] = &[
    "<->", "==", "!=", "<=", ">=", "&&", "||", "..", "--", "(", ")", "[", "]", "{", "}", "<", ">",
    "!", "=", ",", ";", ":", "-",
];

/// A token and the bytes that it covers.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<'a> {
    pub token: Token<'a>,
    pub span: Range<usize>,
}

/// Splits a text into tokens; the last is [`Token::End`].
pub(crate) fn tokenize(text: &str) -> Result<Vec<Spanned<'_>>, ParseError> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "the text has {} bytes; at most {MAX_TEXT} are read",
            text.len()
        );
        return Err(ParseError::new(text, 0..0, message));
    }
    let mut tokens = Vec::with_capacity(text.len() / 5 + 4);
    let mut at = 0;
    loop {
        at = skip_blanks(text, at)?;
        let start = at;
        let (token, end) = next_token(text, at)?;
        let done = token == Token::End;
        tokens.push(Spanned {
            token,
            span: start..end,
        });
        if done {
            return Ok(tokens);
        }
        at = end;
    }
}

/// The offset of the first byte that is neither white space nor comment.
fn skip_blanks(text: &str, mut at: usize) -> Result<usize, ParseError> {
    let bytes = text.as_bytes();
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => at += 1,
            Some(b'/') if bytes.get(at + 1) == Some(&b'/') => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
            }
            Some(b'/') if bytes.get(at + 1) == Some(&b'*') => {
                let line_end = text[at..].find('\n').unwrap_or(text.len() - at);
                match text[at + 2..].find("*/") {
                    Some(length) if length + 4 <= line_end => at += length + 4,
                    _ => {
                        let message =
                            "a comment that begins with /* must end with */ in the same line";
                        return Err(ParseError::new(text, at..at + 2, message));
                    }
                }
            }
            _ => return Ok(at),
        }
    }
}

fn next_token(text: &str, at: usize) -> Result<(Token<'_>, usize), ParseError> {
    let rest = &text[at..];
    let Some(first) = rest.bytes().next() else {
        return Ok((Token::End, at));
    };
    match first {
        b'"' => string(text, at),
        b'$' => name(text, at, "$").map(|(name, end)| (Token::AddressSet(name), end)),
        b'@' => name(text, at, "@").map(|(name, end)| (Token::PortGroup(name), end)),
        b'^' => name(text, at, "^").map(|(name, end)| (Token::Template(name), end)),
        _ if begins_integer(rest) => integer(text, at),
        _ if is_ident_start(first) && !rest.starts_with("..") => {
            let end = at + ident_len(rest);
            Ok((Token::Ident(&text[at..end]), end))
        }
        _ => match PUNCTUATION.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Token::Sign(sign), at + sign.len())),
            None => {
                let bad = rest.chars().next().unwrap_or(' ');
                let message = format!("{bad:?} has no meaning here");
                Err(ParseError::new(text, at..at + bad.len_utf8(), message))
            }
        },
    }
}

fn is_ident_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'.'
}

/// The length of the identifier at the start of `text`.
fn ident_len(text: &str) -> usize {
    let ends = |b: u8| !(is_ident_start(b) || b.is_ascii_digit());
    let len = text.bytes().position(ends).unwrap_or(text.len());
    // `..` is a sign of its own.
    text[..len].find("..").unwrap_or(len)
}

/// The name behind `$`, `@` or `^`.
fn name<'a>(text: &'a str, at: usize, sign: &str) -> Result<(&'a str, usize), ParseError> {
    let rest = &text[at + 1..];
    let len = ident_len(rest);
    if !rest.bytes().next().is_some_and(is_ident_start) || len == 0 {
        let message = format!("{sign:?} must be followed by a name");
        return Err(ParseError::new(text, at..at + 1, message));
    }
    Ok((&rest[..len], at + 1 + len))
}

/// True for `1`, `fe80:`, `::1`, not for `:` alone or `fade`.
fn begins_integer(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes[0].is_ascii_digit() {
        return true;
    }
    let hex = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    match hex {
        0 => text.starts_with("::"),
        _ => bytes.get(hex) == Some(&b':'),
    }
}

/// An integer and, directly behind it, perhaps a mask. Bits that the mask does not have mean nothing, as in OVN, whose
/// northd writes the address of a router port as `192.168.2.1/24` where it means the network.
fn integer(text: &str, at: usize) -> Result<(Token<'_>, usize), ParseError> {
    let (value, format, end) = unmasked(text, at)?;
    let bytes = text.as_bytes();
    let masked = bytes.get(end) == Some(&b'/')
        && bytes.get(end + 1).is_some_and(|b| *b != b'/' && *b != b'*');
    if !masked {
        return Ok((Token::Int(Int::exact(value, format)), end));
    }
    let at_mask = end + 1;
    if !begins_integer(&text[at_mask..]) {
        let message = "\"/\" must be followed by a mask or the length of a prefix";
        return Err(ParseError::new(text, end..at_mask, message));
    }
    let (mask, mask_format, end) = unmasked(text, at_mask)?;
    let mask = match (format, mask_format) {
        (Format::Ip4, Format::Decimal) => prefix(text, at_mask..end, mask, 32)?,
        (Format::Ip6, Format::Decimal) => prefix(text, at_mask..end, mask, 128)?,
        (Format::Decimal | Format::Hex, Format::Decimal | Format::Hex) => mask,
        (a, b) if a == b => mask,
        _ => {
            let message = "value and mask must be written in the same form";
            return Err(ParseError::new(text, at..end, message));
        }
    };
    let full = match format {
        Format::Ip4 => u128::from(u32::MAX),
        Format::Mac => (1 << 48) - 1,
        _ => u128::MAX,
    };
    let int = if mask == full {
        Int::exact(value, format)
    } else {
        Int::masked(value, mask, format)
    };
    Ok((Token::Int(int), end))
}

/// The mask of a prefix of `len` bits in an address of `width` bits.
fn prefix(text: &str, span: Range<usize>, len: u128, width: u32) -> Result<u128, ParseError> {
    let len = u32::try_from(len)
        .ok()
        .filter(|len| *len <= width)
        .ok_or_else(|| {
            let message = format!("the prefix of this address has at most {width} bits");
            ParseError::new(text, span, message)
        })?;
    Ok(match len {
        0 => 0,
        _ => (u128::MAX >> (128 - len)) << (width - len),
    })
}

/// An integer without mask: its value, form, and the offset behind it.
fn unmasked(text: &str, at: usize) -> Result<(u128, Format, usize), ParseError> {
    let rest = &text[at..];
    let run = address_run(rest);
    let digits = run.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let wrong = |len: usize, message: &str| ParseError::new(text, at..at + len, message);
    match run.as_bytes().get(digits) {
        None => {
            let (value, format) = number(run).map_err(|message| wrong(run.len(), message))?;
            Ok((value, format, at + run.len()))
        }
        Some(b'.') => {
            let dotted = run.split(':').next().unwrap_or(run);
            let ip = dotted.parse::<Ipv4Addr>();
            let ip = ip.map_err(|_| wrong(dotted.len(), "this is not an IPv4 address"))?;
            Ok((ip.to_bits().into(), Format::Ip4, at + dotted.len()))
        }
        _ => colons(run, digits)
            .map(|(value, format, len)| (value, format, at + len))
            .ok_or_else(|| wrong(run.len(), "this is neither an IPv6 nor an Ethernet address")),
    }
}

/// An Ethernet or IPv6 address, or a number before a colon.
fn colons(run: &str, digits: usize) -> Option<(u128, Format, usize)> {
    let ethernet = || {
        run.parse::<Mac>()
            .ok()
            .map(|mac| (mac.to_u64().into(), Format::Mac, run.len()))
    };
    let ip6 = || {
        run.parse::<Ipv6Addr>()
            .ok()
            .map(|ip| (ip.to_bits(), Format::Ip6, run.len()))
    };
    let before_colon = || {
        let colons = run.bytes().filter(|b| *b == b':').count();
        let (value, format) = number(&run[..digits]).ok()?;
        (colons == 1).then_some((value, format, digits))
    };
    ethernet().or_else(ip6).or_else(before_colon)
}

/// The characters that may belong to an address; `..` ends it.
fn address_run(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut len = 0;
    while let Some(&byte) = bytes.get(len) {
        let dot = byte == b'.' && bytes.get(len + 1) != Some(&b'.');
        if !(byte.is_ascii_alphanumeric() || byte == b':' || dot) {
            break;
        }
        len += 1;
    }
    // A colon at the very end belongs to what follows, unless it is the `::` of an address.
    match &text[..len] {
        run if run.ends_with(':') && !run.ends_with("::") => &run[..len - 1],
        run => run,
    }
}

fn number(digits: &str) -> Result<(u128, Format), &'static str> {
    let (body, radix, format) = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => (hex, 16, Format::Hex),
        None => (digits, 10, Format::Decimal),
    };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return Err("this is not a number");
    }
    match u128::from_str_radix(body, radix) {
        Ok(value) => Ok((value, format)),
        Err(_) => Err("the number needs more than 128 bits"),
    }
}

/// A JSON string (RFC 8259, section 7).
fn string(text: &str, at: usize) -> Result<(Token<'_>, usize), ParseError> {
    let mut value = String::new();
    let mut rest = text[at + 1..].char_indices();
    while let Some((offset, c)) = rest.next() {
        let here = at + 1 + offset;
        match c {
            '"' => return Ok((Token::Str(value), here + 1)),
            '\\' => value.push(escape(text, here, &mut rest)?),
            c if c < ' ' => {
                let message =
                    "a control character in a string must be written as \\u and four digits";
                return Err(ParseError::new(text, here..here + 1, message));
            }
            c => value.push(c),
        }
    }
    Err(ParseError::new(
        text,
        at..text.len(),
        "this string has no closing quote",
    ))
}

/// What stands behind a backslash at `here`.
fn escape(
    text: &str,
    here: usize,
    rest: &mut std::str::CharIndices<'_>,
) -> Result<char, ParseError> {
    let wrong = |len: usize| {
        ParseError::new(
            text,
            here..here + len,
            "this is not an escape of a JSON string",
        )
    };
    let (_, c) = rest.next().ok_or_else(|| wrong(1))?;
    Ok(match c {
        '"' | '\\' | '/' => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let high = hex4(rest).ok_or_else(|| wrong(2))?;
            if !(0xd800..0xdc00).contains(&high) {
                return char::from_u32(high).ok_or_else(|| wrong(6));
            }
            let follows =
                rest.next().map(|c| c.1) == Some('\\') && rest.next().map(|c| c.1) == Some('u');
            let low = follows.then(|| hex4(rest)).flatten();
            let low = low
                .filter(|low| (0xdc00..0xe000).contains(low))
                .ok_or_else(|| wrong(6))?;
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                .ok_or_else(|| wrong(6))?
        }
        _ => return Err(wrong(1 + c.len_utf8())),
    })
}

fn hex4(rest: &mut std::str::CharIndices<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| {
        Some(value * 16 + rest.next()?.1.to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match tokenize(text) {
            Ok(tokens) => {
                let words: Vec<_> = tokens.iter().map(|t| show(&t.token)).collect();
                words.join(" ")
            }
            Err(error) => format!("{}: {}", error.column(), error.message),
        };
        assert_eq!(got, expected, "{text}");
    }

    fn show(token: &Token<'_>) -> String {
        match token {
            Token::Ident(name) => format!("id({name})"),
            Token::Str(text) => format!("str({text})"),
            Token::Int(int) => int.to_string(),
            Token::AddressSet(name) => format!("${name}"),
            Token::PortGroup(name) => format!("@{name}"),
            Token::Template(name) => format!("^{name}"),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::End => "end".to_owned(),
        }
    }

    #[test]
    fn words_and_signs() {
        check("", "end");
        check(
            "ip4.src==10.0.0.0/8&&!x",
            "id(ip4.src) == 10.0.0.0/8 && ! id(x) end",
        );
        check(
            "reg0[0..15]<->reg1[2]",
            "id(reg0) [ 0 .. 15 ] <-> id(reg1) [ 2 ] end",
        );
        check(
            "ip.ttl--; $as_ip4 @pg ^T",
            "id(ip.ttl) -- ; $as_ip4 @pg ^T end",
        );
        check("a // rest\n b /* c */ d", "id(a) id(b) id(d) end");
        check(
            "a /* b",
            "3: a comment that begins with /* must end with */ in the same line",
        );
        check("$", "1: \"$\" must be followed by a name");
        check("a # b", "3: '#' has no meaning here");
    }

    #[test]
    fn integers() {
        check("0 1 0x2A 007", "0 1 0x2a 7 end");
        check("fe80::1 ::1 ::/0 ::", "fe80::1 ::1 ::/0 :: end");
        check(
            "ff:ff:ff:ff:ff:ff a0:0:0:0:0:1",
            "ff:ff:ff:ff:ff:ff a0:00:00:00:00:01 end",
        );
        check(
            "10.0.0.1:80,[fd00::1]:80",
            "10.0.0.1 : 80 , [ fd00::1 ] : 80 end",
        );
        check("::ffff:10.0.0.1", "::ffff:10.0.0.1 end");
        check("4/4 0x10/0x30", "4/0x4 0x10/0x30 end");
        check("10.0.0.0/255.0.0.0 10.0.0.1/32", "10.0.0.0/8 10.0.0.1 end");
        check(
            "01:00:00:00:00:00/01:00:00:00:00:00",
            "01:00:00:00:00:00/01:00:00:00:00:00 end",
        );
        check(
            "10.0.0.1/24 10.0.0.9/255.0.0.255",
            "10.0.0.0/24 10.0.0.9/255.0.0.255 end",
        );
        check(
            "10.0.0.9/255.0.0.1 fd00::1/64",
            "10.0.0.1/255.0.0.1 fd00::/64 end",
        );
        check("5/4 0xff/0x30", "4/0x4 0x30/0x30 end");
        check(
            "ff:00:00:00:00:01/01:00:00:00:00:00",
            "01:00:00:00:00:00/01:00:00:00:00:00 end",
        );
        check(
            "10.0.0.0/33",
            "10: the prefix of this address has at most 32 bits",
        );
        check("10.0.0/8", "1: this is not an IPv4 address");
        check(
            "0xfffffffffffffffffffffffffffffffff",
            "1: the number needs more than 128 bits",
        );
        check("12ab", "1: this is not a number");
        check(
            "10.0.0.0/x",
            "9: \"/\" must be followed by a mask or the length of a prefix",
        );
    }

    #[test]
    fn strings() {
        check(r#""a\"b\\\u00e9\ud83d\ude00""#, "str(a\"b\\é😀) end");
        check(r#""a"#, "1: this string has no closing quote");
        check(r#""\x""#, "2: this is not an escape of a JSON string");
        check(r#""\ud83d!""#, "2: this is not an escape of a JSON string");
    }
}
