//! Arithmetic on the number of retries, as in `{{=sprig.int(retries) * 2 + 1}}`.

/// Functions that make a number of a text: the number is one already. The first ones drop its fraction.
const INTEGERS: [&str; 5] = ["sprig.int", "sprig.int64", "sprig.atoi", "asInt", "int"];
const FLOATS: [&str; 3] = ["asFloat", "float", "sprig.float64"];

/// The value of the expression. None if it is another kind of expression.
pub(super) fn value(text: &str, retries: i64) -> Option<String> {
    let mut parser = Parser { rest: text.trim(), retries: f64::from(i32::try_from(retries).ok()?) };
    let value = parser.sum()?;
    if !parser.rest.is_empty() || !value.is_finite() {
        return None;
    }
    // Whole numbers have no fraction in Argo either.
    Some(value.to_string())
}

struct Parser<'a> {
    rest: &'a str,
    retries: f64,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            if self.eat("+") {
                value += self.product()?;
            } else if self.eat("-") {
                value -= self.product()?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.power()?;
        loop {
            // `**` belongs to the power.
            if !self.rest.starts_with("**") && self.eat("*") {
                value *= self.power()?;
            } else if self.eat("/") {
                value /= self.power()?;
            } else if self.eat("%") {
                value %= self.power()?;
            } else {
                return Some(value);
            }
        }
    }

    fn power(&mut self) -> Option<f64> {
        let base = self.atom()?;
        if self.eat("**") || self.eat("^") { Some(base.powf(self.power()?)) } else { Some(base) }
    }

    fn atom(&mut self) -> Option<f64> {
        if self.eat("(") {
            let value = self.sum()?;
            return self.eat(")").then_some(value);
        }
        let word = self.word()?;
        if word == "retries" {
            return Some(self.retries);
        }
        let is_integer = INTEGERS.contains(&word);
        if is_integer || FLOATS.contains(&word) {
            self.eat("(").then_some(())?;
            let value = self.sum()?;
            return self.eat(")").then_some(if is_integer { value.trunc() } else { value });
        }
        word.parse().ok().filter(|_| word.starts_with(|c: char| c.is_ascii_digit()))
    }

    fn word(&mut self) -> Option<&'a str> {
        let length = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else { return false };
        self.rest = rest.trim_start();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn arithmetic_on_retries() {
        let cases = [
            ("retries", Some("2")),
            ("sprig.int(retries)", Some("2")),
            (" (asInt(retries) + 1) * 64 ", Some("192")),
            ("2 ** retries * 100", Some("400")),
            ("1 + 2 * 3 - 4 / 2 % 3", Some("5")),
            ("2 ^ 3 ^ retries", Some("512")),
            ("sprig.int(retries / 4) + asFloat(retries / 4)", Some("0.5")),
            ("retries > 1", None),
            ("-1", None),
            ("retries > 1 ? 4 : 2", None),
            ("inputs.parameters.x", None),
            ("(retries", None),
            ("1 / (retries - 2)", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text, 2).as_deref(), expected, "{text}");
        }
    }
}
