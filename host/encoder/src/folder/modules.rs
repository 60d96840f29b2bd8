//! How vectors of tokens become that of a text, and what comes after it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{inside, optional};
use crate::dense::{Dense, Step};
use crate::error::Error;
use crate::pooling::Pooling;

/// What `modules.json` says, and the files of the modules.
pub(super) struct Modules {
    /// Whether there is such a file.
    pub are_told: bool,
    pub pooling: Pooling,
    /// What comes after the pooling.
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct PoolingConfig {
    /// As version 6 of sentence-transformers writes it.
    pooling_mode: Option<Modes>,
    include_prompt: Option<bool>,
    /// Older versions have a field a mode.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Modes {
    One(String),
    Several(Vec<String>),
}

impl PoolingConfig {
    /// The names of the modes that are asked for.
    fn modes(&self) -> Vec<&str> {
        match &self.pooling_mode {
            Some(Modes::One(mode)) => vec![mode],
            Some(Modes::Several(modes)) => modes.iter().map(String::as_str).collect(),
            None => {
                let fields = self.others.iter();
                let asked = fields.filter(|(_, value)| **value != Value::Bool(false));
                asked
                    .filter_map(|(name, _)| name.strip_prefix("pooling_mode_"))
                    .collect()
            }
        }
    }
}

impl Modules {
    /// Reads the modules of a folder.
    pub fn read(dir: &Path, has_prompt: bool) -> Result<Self, Error> {
        let path = dir.join("modules.json");
        let modules: Option<Vec<Module>> = optional(&path)?;
        let are_told = modules.is_some();
        let mut folder = "1_Pooling".to_owned();
        let mut steps = Vec::new();
        for module in modules.unwrap_or_default() {
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Normalize" => steps.push(Step::Normalize),
                "Pooling" => folder = module.path,
                "Dense" => steps.push(Step::Dense(Dense::open(&inside(
                    dir,
                    &path,
                    &module.path,
                )?)?)),
                other => {
                    return Err(Error::unsupported(
                        &path,
                        format!(
                            "has a module {other:?}; those known are Transformer, Pooling, Dense and Normalize"
                        ),
                    ));
                }
            }
        }
        // All vectors get the length 1 in the end.
        if let Some(Step::Normalize) = steps.last() {
            steps.pop();
        }
        Ok(Self {
            are_told,
            pooling: pooling(
                &inside(dir, &path, &folder)?.join("config.json"),
                has_prompt,
            )?,
            steps,
        })
    }
}

/// What the file of the pooling asks for; the mean if there is none.
fn pooling(path: &Path, has_prompt: bool) -> Result<Pooling, Error> {
    let Some(config) = optional::<PoolingConfig>(path)? else {
        return Ok(Pooling::Mean);
    };
    let refuse = |what: &str| {
        Err(Error::unsupported(
            path,
            format!("{what} is not built here; use a model with mean, CLS, max or last token"),
        ))
    };
    if has_prompt && config.include_prompt == Some(false) {
        return refuse("pooling without the prompt");
    }
    match config.modes()[..] {
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["mean_sqrt_len_tokens"] => Ok(Pooling::MeanSqrt),
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["max" | "max_tokens"] => Ok(Pooling::Max),
        ["lasttoken"] => Ok(Pooling::Last),
        [mode] => refuse(&format!("pooling by {mode:?}")),
        [] => Err(Error::invalid(
            path,
            "sets no mode of pooling, such as {\"pooling_mode\": \"mean\"}; get it again with the model",
        )),
        _ => refuse("pooling in several ways at once"),
    }
}
