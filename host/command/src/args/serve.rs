//! The command line of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Dtype;

/// See [`Command::Serve`](super::Command::Serve).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  curl localhost:7420/v1/put -d '{\"query\": \"ping?\", \"response\": \"pong\"}' \\
       -H 'content-type: application/json'
  curl localhost:7420/v1/get -d '{\"query\": \"PING?\"}' -H 'content-type: application/json'

All of it is described at /openapi.json, metrics are at /metrics, /health answers 200 or 503.
The namespace is that of the path, /v1/namespaces/NS/get, or of the header Mneme-Namespace, or
`default`. With a token, every request but those of /health and /openapi.json must bear it:
`authorization: Bearer TOKEN`. Without, it serves this machine only. It speaks plain HTTP: put a
proxy that speaks TLS before it where others can listen.

SIGTERM and SIGINT stop it: requests under way are answered, and what waits is written.")]
pub struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420")]
    pub listen: SocketAddr,
    /// A file whose first line is the token that requests must bear. Default: $MNEME_TOKEN,
    /// else none
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Serve other machines though there is no token
    #[arg(long)]
    pub without_token: bool,
    /// The least similarity of an answer to a question in other words, -1 to 1
    #[arg(long, short, value_name = "T", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Lifetime in seconds of entries put without one. Default: unlimited
    #[arg(long, value_name = "S")]
    pub ttl: Option<u64>,
    /// The most entries of all namespaces together. Default: no limit
    #[arg(long, value_name = "N")]
    pub max_entries: Option<u64>,
    /// How the index holds vectors in memory
    #[arg(long, value_enum, default_value = "float32")]
    pub dtype: Dtype,
    /// How many milliseconds what other processes have written may go unnoticed
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub follow: u32,
    /// The most bytes of a JSON body
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub max_body: usize,
    /// The most bytes of an archive to load; it is kept in the folder of temporary files
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 30)]
    pub max_archive: u64,
    /// The most namespaces that have metrics of their own
    #[arg(long, value_name = "N", default_value_t = mneme::observe::DEFAULT_MAX_NAMESPACES)]
    pub max_namespaces: usize,
    /// How many seconds requests under way may take after a signal
    #[arg(long, value_name = "S", default_value_t = 20)]
    pub grace: u64,
}
