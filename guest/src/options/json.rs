//! Checking JSON without building it: memory does not grow with the text.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What a JSON text is at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number that fits into a double.
    Number,
    /// A string
    Text,
    /// An array
    Array,
    /// An object
    Object,
}

impl Kind {
    /// Its name, with an article.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    // `IgnoredAny` would not do: it accepts any depth and any number, and readers do not.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checking)
    }
}

struct Checking;

impl<'de> Visitor<'de> for Checking {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        while items.next_element::<Kind>()?.is_some() {}
        Ok(Kind::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        while members.next_entry::<Kind, Kind>()?.is_some() {}
        Ok(Kind::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn kind(value: &Value) -> Kind {
        match value {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Number(_) => Kind::Number,
            Value::String(_) => Kind::Text,
            Value::Array(_) => Kind::Array,
            Value::Object(_) => Kind::Object,
        }
    }

    /// It accepts what building the value accepts, and nothing else.
    fn assert_agrees(text: &str) {
        let built: Result<Value, _> = serde_json::from_str(text);
        let checked: Result<Kind, _> = serde_json::from_str(text);
        match (built, checked) {
            (Ok(built), Ok(checked)) => assert_eq!(kind(&built), checked, "{text:.80}"),
            (Err(_), Err(_)) => {}
            (built, checked) => panic!("{text:.80}: {built:?} and {checked:?}"),
        }
    }

    #[test]
    fn it_agrees_with_the_tree() {
        for text in [
            "",
            " ",
            "null",
            "true",
            "1",
            "-0",
            "1e5",
            "1e999",
            "01",
            "18446744073709551616",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "[]",
            "[1,]",
            "{}",
            "{\"a\":1,\"a\":2}",
            "{\"a\"}",
            "{1:2}",
            "{\"a\":NaN}",
            "{} {}",
            "{\"\\ud83d\\ude00\":[{\"b\":null}]}",
        ] {
            assert_agrees(text);
        }
        for depth in [1, 100, 126, 127, 128, 129, 5000] {
            assert_agrees(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            assert_agrees(&format!(
                "{}1{}",
                "{\"a\":".repeat(depth),
                "}".repeat(depth)
            ));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_on_anything(text in "[\\[\\]{}\",:0-9eE.a\\\\u+ -]{0,24}") {
            assert_agrees(&text);
        }
    }
}
