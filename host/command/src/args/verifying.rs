//! Who verifies an answer before it is given, in every command that looks up.

use std::time::Duration;

use anyhow::{Result, bail};
use mneme::Builder;
use mneme::verifier::{HttpVerifier, Verifier};

use super::seconds;
use crate::embedder_spec::guard;
use crate::verify_program::Program;

const HEADING: &str = "Verifying answers";

/// The verifier, and what it is asked about.
#[derive(Debug, Clone, clap::Args)]
pub struct Verifying {
    /// Ask this program before a question in other words is answered: a command line of the shell,
    /// which gets a JSON object with query, entry_query and response on standard input, and prints yes,
    /// no or unknown. With no, an error or no answer in time the look-up misses
    #[arg(long, global = true, value_name = "PROGRAM", help_heading = HEADING)]
    pub verify: Option<String>,

    /// Ask this service instead, with the same object: a URL, which answers {"opinion": "yes"}, or
    /// `openai:BASE_URL,MODEL`, a language model behind an OpenAI-compatible API of chats. The key is
    /// $MNEME_VERIFY_KEY
    #[arg(long, global = true, value_name = "URL", help_heading = HEADING)]
    pub verify_url: Option<String>,

    /// Ask about entries below the threshold too, down to this similarity, -1 to 1: they answer if the
    /// verifier says yes
    #[arg(long, global = true, value_name = "T", allow_negative_numbers = true, help_heading = HEADING)]
    pub verify_band: Option<f32>,

    /// Ask about those afterwards: the look-up misses, and the same question is answered next time.
    /// Only in serve, which goes on
    #[arg(long, global = true, help_heading = HEADING)]
    pub verify_later: bool,

    /// The most seconds, up to 86400, for a call of the verifier
    #[arg(long, global = true, value_name = "S", default_value_t = 10, value_parser = seconds(1), help_heading = HEADING)]
    pub verify_timeout: u64,
}

impl Verifying {
    /// Sets these options.
    pub fn apply(&self, mut builder: Builder) -> Result<Builder> {
        if let Some(verifier) = self.verifier()? {
            builder = builder
                .boxed_verifier(verifier)
                // The program or the request has its own limit, and tells more.
                .verify_timeout(guard(self.timeout()));
        } else if self.verify_band.is_some() || self.verify_later {
            bail!("--verify-band and --verify-later need a verifier; add --verify or --verify-url");
        }
        if self.verify_later && self.verify_band.is_none() {
            bail!("--verify-later is about the band below the threshold; add --verify-band");
        }
        if let Some(least) = self.verify_band {
            builder = builder.verify_band(least);
        }
        if self.verify_later {
            builder = builder.verify_later(true);
        }
        Ok(builder)
    }

    /// Refuses a verifier, for commands that ask none.
    pub fn refuse(&self, command: &str) -> Result<()> {
        if self.verify.is_some() || self.verify_url.is_some() || self.verify_band.is_some() {
            bail!("{command} asks no verifier; leave --verify, --verify-url and --verify-band out");
        }
        self.refuse_later(command)
    }

    /// Refuses what needs time after the answer.
    pub fn refuse_later(&self, command: &str) -> Result<()> {
        if self.verify_later {
            bail!(
                "{command} ends before anything could be verified later; leave --verify-later out, or let serve do it"
            );
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.verify_timeout)
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier>>> {
        let url = match (&self.verify, &self.verify_url) {
            (Some(_), Some(_)) => {
                bail!("--verify and --verify-url are both given; give one of them")
            }
            (Some(program), None) => {
                return Ok(Some(Box::new(Program::new(program, self.timeout()))));
            }
            (None, None) => return Ok(None),
            (None, Some(url)) => url,
        };
        let builder = match url.strip_prefix("openai:") {
            None => HttpVerifier::endpoint(url),
            Some(rest) => match rest.split_once(',') {
                Some((base_url, model)) => HttpVerifier::chat(base_url.trim(), model.trim()),
                None => bail!(
                    "--verify-url: openai needs a base URL and a model; write openai:BASE_URL,MODEL, such as openai:http://localhost:11434/v1,qwen3:4b"
                ),
            },
        };
        let key = std::env::var("MNEME_VERIFY_KEY").unwrap_or_default();
        Ok(Some(Box::new(
            builder.api_key(key).timeout(self.timeout()).build()?,
        )))
    }
}
