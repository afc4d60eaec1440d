//! [`Cursor`]: a place in a row of tokens, for the two parsers.

use std::ops::Range;

use crate::constant::{Constant, Int};
use crate::error::ParseError;
use crate::lexer::{Spanned, Token, tokenize};

/// The tokens of a text and the one to be read next.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Spanned<'a>>,
    next: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Result<Self, ParseError> {
        let tokens = tokenize(text)?;
        Ok(Self {
            text,
            tokens,
            next: 0,
        })
    }

    /// The next token. After the last one, [`Token::End`] for ever.
    pub fn peek(&self) -> &Token<'a> {
        self.peek_at(0)
    }

    /// The token `ahead` places further.
    pub fn peek_at(&self, ahead: usize) -> &Token<'a> {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.next + ahead).min(last)].token
    }

    /// The place of the next token.
    pub fn span(&self) -> Range<usize> {
        self.tokens[self.next].span.clone()
    }

    /// From `start` to the end of the token read last.
    pub fn since(&self, start: usize) -> Range<usize> {
        let end = match self.next {
            0 => start,
            next => self.tokens[next - 1].span.end,
        };
        start..end.max(start)
    }

    /// True if one of the tokens read since `start` is a sign for which `is` holds.
    pub fn read_sign(&self, start: usize, is: impl Fn(&str) -> bool) -> bool {
        let read = self.tokens[..self.next].iter().rev();
        read.take_while(|token| token.span.start >= start)
            .any(|token| matches!(token.token, Token::Sign(sign) if is(sign)))
    }

    pub fn advance(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    /// An error about the next token.
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.span(), message)
    }

    pub fn error_at(&self, span: Range<usize>, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, span, message)
    }

    /// An error that the next token is not what it should be.
    pub fn expected(&self, wanted: &str) -> ParseError {
        let message = match self.peek() {
            Token::End => format!("expected {wanted}, but the text ends here"),
            _ => format!("expected {wanted}"),
        };
        self.error(message)
    }

    pub fn at_end(&self) -> bool {
        *self.peek() == Token::End
    }

    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    /// Reads the sign if it is next.
    pub fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect(&mut self, sign: &str) -> Result<(), ParseError> {
        if self.accept(sign) {
            return Ok(());
        }
        Err(self.expected(&format!("{sign:?}")))
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Ident(w) if *w == word)
    }

    /// Reads the word if it is next.
    pub fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.accept_word(word) {
            return Ok(());
        }
        Err(self.expected(&format!("{word:?}")))
    }

    pub fn ident(&mut self, wanted: &str) -> Result<&'a str, ParseError> {
        match *self.peek() {
            Token::Ident(word) => {
                self.advance();
                Ok(word)
            }
            _ => Err(self.expected(wanted)),
        }
    }

    pub fn string(&mut self, wanted: &str) -> Result<String, ParseError> {
        match self.peek().clone() {
            Token::Str(text) => {
                self.advance();
                Ok(text)
            }
            _ => Err(self.expected(wanted)),
        }
    }

    /// A string or a word without quotes.
    pub fn string_or_word(&mut self, wanted: &str) -> Result<String, ParseError> {
        match self.peek() {
            Token::Ident(word) => {
                let word = (*word).to_owned();
                self.advance();
                Ok(word)
            }
            _ => self.string(wanted),
        }
    }

    pub fn int(&mut self, wanted: &str) -> Result<Int, ParseError> {
        match *self.peek() {
            Token::Int(int) => {
                self.advance();
                Ok(int)
            }
            _ => Err(self.expected(wanted)),
        }
    }

    /// An integer without mask, at most `max`.
    pub fn number(&mut self, wanted: &str, max: u32) -> Result<u32, ParseError> {
        let span = self.span();
        let int = self.int(wanted)?;
        let value = u32::try_from(int.value)
            .ok()
            .filter(|v| int.is_exact() && *v <= max);
        value.ok_or_else(|| self.error_at(span, format!("expected {wanted}, at most {max}")))
    }

    /// An integer, string, `$set`, `@group` or `^template`.
    pub fn constant(&mut self) -> Result<Constant, ParseError> {
        let constant = match self.peek() {
            Token::Int(int) => Constant::Int(*int),
            Token::Str(text) => Constant::Str(text.as_str().into()),
            Token::AddressSet(name) => Constant::AddressSet((*name).into()),
            Token::PortGroup(name) => Constant::PortGroup((*name).into()),
            Token::Template(name) => Constant::Template((*name).into()),
            _ => return Err(self.expected("a constant")),
        };
        self.advance();
        Ok(constant)
    }

    /// True when the next token is a constant.
    pub fn is_constant(&self) -> bool {
        !matches!(self.peek(), Token::Ident(_) | Token::Sign(_) | Token::End)
    }
}
