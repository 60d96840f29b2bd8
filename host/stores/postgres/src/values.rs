//! The values of a statement's parameters.

use std::borrow::Cow;

use tokio_postgres::types::{ToSql, Type};

/// A value that says its type, for the sake of statements that are not prepared.
pub(super) trait Value: ToSql + Sync {
    /// The type that the server is told.
    fn kind(&self) -> Type;
}

/// The values of a statement's parameters.
pub(super) type Values<'a> = &'a [&'a dyn Value];

macro_rules! kinds {
    ($($kind:ident: $($type:ty),+;)+) => {
        $($(impl Value for $type {
            fn kind(&self) -> Type {
                Type::$kind
            }
        })+)+
    };
}

kinds! {
    INT8: i64, Option<i64>;
    INT8_ARRAY: &[i64], Vec<i64>, Vec<Option<i64>>;
    TEXT: &str, String, Cow<'_, str>, Option<Cow<'_, str>>;
    TEXT_ARRAY: &[&str], &[String], Vec<&str>, Vec<Option<&str>>, Vec<Cow<'_, str>>;
    BYTEA: Vec<u8>;
    FLOAT4_ARRAY: Vec<f32>;
    BYTEA_ARRAY: Vec<&[u8]>;
}
