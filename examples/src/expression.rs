//! Expressions: text to a tree. `api` parses one for each request and walks the tree with `operations`.

use crate::operation::Operation;

/// The longest expression taken, in bytes.
pub const MAX_LEN: usize = 1_000;
/// The deepest nesting of parentheses and signs taken.
pub const MAX_DEPTH: usize = 64;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A literal.
    Number(f64),
    /// An operation on two sub-expressions.
    Apply(Operation, Box<Expression>, Box<Expression>),
}

/// Why text is no expression; positions count from 1, in characters.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_LEN`].
    #[error("the expression has {0} bytes; at most {MAX_LEN} are taken")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the expression is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Something else stands where a number or `(` should.
    #[error("expected a number or '(' at position {position}, found {found}")]
    ExpectedOperand {
        /// Where.
        position: usize,
        /// What stands there.
        found: String,
    },
    /// Something follows the end of the expression.
    #[error("expected an operator at position {position}, found {found}")]
    ExpectedOperator {
        /// Where.
        position: usize,
        /// What stands there.
        found: String,
    },
    /// A `(` without its `)`.
    #[error("the '(' at position {0} is never closed")]
    Unclosed(usize),
    /// Digits that are no number.
    #[error("{text:?} at position {position} is not a number")]
    BadNumber {
        /// Where.
        position: usize,
        /// The digits.
        text: String,
    },
}

impl Expression {
    /// Parses `+ - * /` with the usual precedence, parentheses, signs and decimal numbers.
    ///
    /// # Errors
    /// [`ParseError`] with the position of the first fault.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_LEN {
            return Err(ParseError::TooLong(text.len()));
        }
        let mut parser = Parser {
            rest: text.chars().collect(),
            at: 0,
            depth: 0,
        };
        let expression = parser.sum()?;
        match parser.peek() {
            None => Ok(expression),
            Some(_) => Err(ParseError::ExpectedOperator {
                position: parser.at + 1,
                found: parser.found(),
            }),
        }
    }
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// The next character that is not white space, which is passed over.
    fn peek(&mut self) -> Option<char> {
        while self.rest.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.rest.get(self.at).copied()
    }

    fn found(&mut self) -> String {
        self.peek()
            .map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"))
    }

    fn sum(&mut self) -> Result<Expression, ParseError> {
        let mut left = self.product()?;
        loop {
            let operation = match self.peek() {
                Some('+') => Operation::Add,
                Some('-') => Operation::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expression::Apply(operation, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expression, ParseError> {
        let mut left = self.operand()?;
        loop {
            let operation = match self.peek() {
                Some('*') => Operation::Multiply,
                Some('/') => Operation::Divide,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expression::Apply(operation, Box::new(left), Box::new(self.operand()?));
        }
    }

    fn operand(&mut self) -> Result<Expression, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        let operand = match self.peek() {
            Some('(') => self.parenthesised(),
            Some('-') => self.negated(),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            _ => Err(ParseError::ExpectedOperand {
                position: self.at + 1,
                found: self.found(),
            }),
        };
        self.depth -= 1;
        operand
    }

    fn parenthesised(&mut self) -> Result<Expression, ParseError> {
        let opened = self.at + 1;
        self.at += 1;
        let inside = self.sum()?;
        match self.peek() {
            Some(')') => {
                self.at += 1;
                Ok(inside)
            }
            None => Err(ParseError::Unclosed(opened)),
            Some(_) => Err(ParseError::ExpectedOperator {
                position: self.at + 1,
                found: self.found(),
            }),
        }
    }

    fn negated(&mut self) -> Result<Expression, ParseError> {
        self.at += 1;
        Ok(match self.operand()? {
            Expression::Number(number) => Expression::Number(-number),
            other @ Expression::Apply(..) => Expression::Apply(
                Operation::Subtract,
                Box::new(Expression::Number(0.0)),
                Box::new(other),
            ),
        })
    }

    fn number(&mut self) -> Result<Expression, ParseError> {
        let start = self.at;
        while self
            .rest
            .get(self.at)
            .is_some_and(|c| c.is_ascii_digit() || *c == '.')
        {
            self.at += 1;
        }
        let text: String = self.rest[start..self.at].iter().collect();
        match text.parse() {
            Ok(number) => Ok(Expression::Number(number)),
            Err(_) => Err(ParseError::BadNumber {
                position: start + 1,
                text,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(expression: &Expression) -> f64 {
        match expression {
            Expression::Number(number) => *number,
            Expression::Apply(operation, left, right) => {
                operation.apply(evaluate(left), evaluate(right)).unwrap()
            }
        }
    }

    #[test]
    fn precedence_parentheses_and_signs() {
        for (text, expected) in [
            ("1+2*3", 7.0),
            ("(1+2)*3", 9.0),
            ("8/4/2", 1.0),
            ("10-4-3", 3.0),
            ("-2*-3", 6.0),
            ("-(1+2)", -3.0),
            (" 0.5 + .5 ", 1.0),
            ("((((7))))", 7.0),
        ] {
            let parsed = Expression::parse(text).unwrap();
            assert_eq!(evaluate(&parsed), expected, "{text}");
        }
    }

    #[test]
    fn faults_say_where() {
        for (text, expected) in [
            ("", "expected a number or '(' at position 1, found the end"),
            (
                "1+",
                "expected a number or '(' at position 3, found the end",
            ),
            ("1+*2", "expected a number or '(' at position 3, found '*'"),
            ("(1+2", "the '(' at position 1 is never closed"),
            ("1)", "expected an operator at position 2, found ')'"),
            ("1 2", "expected an operator at position 3, found '2'"),
            ("1.2.3", "\"1.2.3\" at position 1 is not a number"),
            ("(1 2)", "expected an operator at position 4, found '2'"),
        ] {
            assert_eq!(
                Expression::parse(text).unwrap_err().to_string(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert_eq!(
            Expression::parse(&"1".repeat(1_001)),
            Err(ParseError::TooLong(1_001))
        );
        assert_eq!(
            Expression::parse(&"(".repeat(500)),
            Err(ParseError::TooDeep)
        );
        assert_eq!(
            Expression::parse(&"-".repeat(500)),
            Err(ParseError::TooDeep)
        );
    }
}
