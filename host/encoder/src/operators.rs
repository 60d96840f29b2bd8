//! Which operators a model may have, and what else its file says before the engine reads it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use rten_onnx::protobuf::{
    DecodeMessage, Fields, OwnedValues, ProtobufError, ReadValue, ValueReader,
};

use crate::error::{Error, guarded};
use crate::folder;

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

/// Opsets whose models were tried here.
const OPSETS: RangeInclusive<i64> = 11..=21;

/// Where operators come from that the engine knows. Those of ONNX have no domain, or this one.
const STANDARD: [&str; 2] = ["", "ai.onnx"];
const MICROSOFT: &str = "com.microsoft";

/// What a file says beside its operators.
#[derive(Default)]
pub(crate) struct Graph {
    /// The files of its external data, in order.
    pub data: BTreeSet<String>,
    /// The rows of its table of positions.
    pub places: Option<usize>,
}

/// Refuses a model whose operators are not those of a sentence encoder, before the engine reads it.
pub(crate) fn check(path: &Path) -> Result<Graph, Error> {
    let file = folder::open(path)?;
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
    if let Some((operator, domain)) = found.foreign {
        return Err(Error::unsupported(
            path,
            format!(
                "has the operator {operator:?} of the domain {domain:?}, which is not known; export the model again, with the operators of ONNX"
            ),
        ));
    }
    if !found.opset.is_some_and(|opset| OPSETS.contains(&opset)) {
        let (first, last) = OPSETS.into_inner();
        let opset = found
            .opset
            .map_or("none".to_owned(), |opset| opset.to_string());
        return Err(Error::unsupported(
            path,
            format!(
                "is of the opset {opset}; those known are {first} to {last}, so export it again with one of them"
            ),
        ));
    }
    Ok(found.graph)
}

/// What is looked for in a file. Weights are skipped.
#[derive(Default)]
struct Found {
    refused: Option<&'static str>,
    is_deep: bool,
    /// An operator of a domain that is not known, and the domain.
    foreign: Option<(String, String)>,
    /// The version of the standard operators.
    opset: Option<i64>,
    graph: Graph,
}

/// The messages that lead to an operator.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Opset,
    Tensor,
    Data,
}

/// What was read of a message before its end.
#[derive(Default)]
struct Read {
    operator: String,
    domain: String,
    version: Option<i64>,
    name: String,
    dims: Vec<i64>,
    key: String,
    value: String,
}

impl Message {
    /// What a field of it holds, as ONNX numbers them.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Some(Self::Graph),
            (Self::Model, 8) => Some(Self::Opset),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5) => Some(Self::Tensor),
            (Self::Tensor, 13) => Some(Self::Data),
            _ => None,
        }
    }
}

impl Found {
    fn look<R: ReadValue<Types = OwnedValues>>(
        &mut self,
        mut fields: Fields<'_, R>,
        message: Message,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        let mut read = Read::default();
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
                None => match (message, field.number()) {
                    (Message::Node, 4) => read.operator = field.read_string()?,
                    (Message::Node, 7) | (Message::Opset, 1) => {
                        read.domain = field.read_string()?
                    }
                    (Message::Opset, 2) => read.version = Some(field.get_int64()?),
                    (Message::Tensor, 1) => read.dims.push(field.get_int64()?),
                    (Message::Tensor, 8) => read.name = field.read_string()?,
                    (Message::Data, 1) => read.key = field.read_string()?,
                    (Message::Data, 2) => read.value = field.read_string()?,
                    _ => field.skip()?,
                },
            }
        }
        self.note(message, read);
        Ok(())
    }

    /// Keeps what matters of a message.
    fn note(&mut self, message: Message, read: Read) {
        let is_standard = STANDARD.contains(&read.domain.as_str());
        match message {
            Message::Node => {
                let refused = REFUSED.into_iter().find(|name| *name == read.operator);
                self.refused = self.refused.or(refused);
                // The engine takes a constant of any domain.
                let is_known =
                    is_standard || (read.domain == MICROSOFT && read.operator != "Constant");
                if !is_known && self.foreign.is_none() {
                    self.foreign = Some((read.operator, read.domain));
                }
            }
            Message::Opset if is_standard => self.opset = self.opset.or(read.version),
            Message::Tensor if read.name.contains("position_embeddings") => {
                if let [rows, _] = read.dims[..] {
                    self.graph.places = usize::try_from(rows).ok();
                }
            }
            Message::Data if read.key == "location" => {
                self.graph.data.insert(read.value);
            }
            _ => {}
        }
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
