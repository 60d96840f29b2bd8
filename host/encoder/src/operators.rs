//! Which operators a model may have.

use std::fs::File;
use std::path::Path;

use rten_onnx::protobuf::{
    DecodeMessage, Fields, OwnedValues, ProtobufError, ReadValue, ValueReader,
};

use crate::error::{Error, guarded};

/// Operators of which a model may never end, or gives other vectors each time. No sentence encoder has
/// them.
const REFUSED: [&str; 8] = [
    "Loop",
    "Scan",
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Graphs within graphs within graphs. The engine goes down as far as a file asks for.
const MAX_DEPTH: usize = 4;

/// Refuses a model whose operators are not those of a sentence encoder, before the engine reads it.
/// The file is a regular one, of a size that is read.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let file = File::open(path)
        .map_err(|error| Error::missing(path, format!("cannot be read: {error}")))?;
    let damaged = |error: &dyn std::fmt::Display| {
        Error::invalid(path, format!("cannot be loaded: {error}; get it again"))
    };
    let found = guarded(|| Found::decode(ValueReader::from_file(file)))
        .map_err(|panic| damaged(&panic))?
        .map_err(|error| damaged(&error))?;
    let refuse = |what: String| {
        Err(Error::unsupported(
            path,
            format!("is no sentence encoder: {what}; export the model again, for inference"),
        ))
    };
    if let Some(operator) = found.refused {
        return refuse(format!("it has the operator {operator}"));
    }
    if found.is_deep {
        return refuse(format!("it has graphs within graphs, {MAX_DEPTH} deep"));
    }
    Ok(())
}

/// What is looked for in a file. Weights are skipped.
#[derive(Default)]
struct Found {
    refused: Option<&'static str>,
    is_deep: bool,
}

/// The messages that lead to an operator.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
}

impl Message {
    /// What a field of it holds, as ONNX numbers them.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Some(Self::Graph),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            _ => None,
        }
    }
}

/// The field of a node that names its operator.
const OPERATOR: u64 = 4;

impl Found {
    fn look<R: ReadValue<Types = OwnedValues>>(
        &mut self,
        mut fields: Fields<'_, R>,
        message: Message,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        while let Some(mut field) = fields.next()? {
            match message.field(field.number()) {
                // Nothing below matters: the model is refused.
                Some(_) if depth == MAX_DEPTH => {
                    self.is_deep = true;
                    field.skip()?;
                }
                Some(inner) => {
                    let depth = depth + usize::from(matches!(inner, Message::Graph));
                    self.look(field.read_message(None)?, inner, depth)?;
                }
                None if matches!(message, Message::Node) && field.number() == OPERATOR => {
                    let name = field.read_string()?;
                    let refused = REFUSED.into_iter().find(|refused| *refused == name);
                    self.refused = self.refused.or(refused);
                }
                None => field.skip()?,
            }
        }
        Ok(())
    }
}

impl DecodeMessage for Found {
    type Types = OwnedValues;

    fn decode_fields<R: ReadValue<Types = OwnedValues>>(
        fields: Fields<R>,
    ) -> Result<Self, ProtobufError> {
        let mut found = Self::default();
        found.look(fields, Message::Model, 0)?;
        Ok(found)
    }
}
