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

/openapi.json describes the API, /metrics has metrics, and /health answers 200 or 503. The
namespace comes from the path, /v1/namespaces/NS/get, else from the header Mneme-Namespace, else
it is `default`. With a token, every request except to /health and /openapi.json must carry it:
`authorization: Bearer TOKEN`. Without a token, only this machine is served. The server speaks
plain HTTP: on a network you do not trust, put a TLS proxy in front.

SIGTERM and SIGINT stop it: it answers open requests and writes pending data first.")]
pub struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420")]
    pub listen: SocketAddr,
    /// A file whose first line is the token that requests must carry. Default: $MNEME_TOKEN,
    /// else none
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Serve other machines even without a token
    #[arg(long)]
    pub without_token: bool,
    /// The least similarity of an answer to a question in other words, -1 to 1
    #[arg(long, short, value_name = "T", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Lifetime in seconds of entries put without one. Default: unlimited
    #[arg(long, value_name = "S")]
    pub ttl: Option<u64>,
    /// The most entries in all namespaces together. Default: no limit
    #[arg(long, value_name = "N")]
    pub max_entries: Option<u64>,
    /// How the index holds vectors in memory
    #[arg(long, value_enum, default_value = "float32")]
    pub dtype: Dtype,
    /// The most milliseconds until writes of other processes are noticed
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub follow: u32,
    /// The most bytes of a JSON body
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub max_body: usize,
    /// The most bytes of an archive to load; it passes through the temporary folder
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 30)]
    pub max_archive: u64,
    /// The most namespaces with separate metrics
    #[arg(long, value_name = "N", default_value_t = mneme::observe::DEFAULT_MAX_NAMESPACES)]
    pub max_namespaces: usize,
    /// The most seconds that open requests may take after a signal
    #[arg(long, value_name = "S", default_value_t = 20)]
    pub grace: u64,
}
