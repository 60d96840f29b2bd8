//! The command line of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::uri::Authority;
use clap::value_parser;

use super::checkpoint::MAX_ARCHIVE;
use super::{Dtype, seconds, whole};

/// See [`Command::Serve`](super::Command::Serve).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  curl localhost:7420/v1/put -d '{\"query\": \"ping?\", \"response\": \"pong\"}' \\
       -H 'content-type: application/json'
  curl localhost:7420/v1/get -d '{\"query\": \"PING?\"}' -H 'content-type: application/json'
  curl localhost:7420/v1/load --data-binary @backup.tar.gz -H 'content-type: application/octet-stream'

/openapi.json describes the API. The namespace comes from the path, /v1/namespaces/NS/get, else from
the header Mneme-Namespace, else it is `default`.

/livez answers 200 while the process lives, and asks nothing. /readyz and /health answer 200 if the
store answers a cheap check within 2 seconds, else 503 with what is wrong. If a database server has
lost the cache, the server opens it again and goes on with what is there, empty or of the same
embedder; a SQLite file that is gone stays gone until the server is restarted. /v1/health?deep=true reads the whole store,
one check at a time, on a separate connection. /metrics has metrics.

With a token, every request except to /livez, /readyz, /health and /openapi.json must carry it:
`authorization: Bearer TOKEN`. Without a token, only this machine is served, under the name localhost
or a loopback address; with --without-token every machine is, under an IP address, localhost or a name
of --allow-host. Web pages of other origins are refused, with or without a token: requests with
a foreign Origin, and bodies without a content type of JSON or of an archive. The server speaks plain
HTTP: on a network you do not trust, put a TLS proxy in front.

SIGTERM and SIGINT stop it: it answers the requests under way and writes pending data first, for at
most --grace seconds; a second signal ends that. It exits with 0 if everything ended, 1 if something
was dropped, which standard error names, and 2 after an error.")]
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
    /// A host name under which the server is asked, for a server without a token; repeatable. It
    /// answers to localhost and, with --without-token, to IP addresses anyway
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub allow_host: Vec<String>,
    /// The least similarity of an answer to a question in other words, -1 to 1
    #[arg(long, short, value_name = "T", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Lifetime in seconds of entries put without one. Default: unlimited
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub ttl: Option<u64>,
    /// The most entries in all namespaces together. Default: no limit
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub max_entries: Option<u64>,
    /// The most bytes of all entries together, texts and vectors, partly estimated. Default: no limit
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub max_bytes: Option<u64>,
    /// How many instances answer side by side, 0 to 64 without and 1 to 64 with an index in memory, each
    /// with a connection of the store. Default: by the number of cores and the time that the store takes to
    /// answer; `memory:` has 0,1
    #[arg(long, value_name = "EXACT,SEMANTIC", value_parser = lanes)]
    pub lanes: Option<(u32, u32)>,
    /// How the index holds vectors in memory
    #[arg(long, value_enum, default_value = "float32")]
    pub dtype: Dtype,
    /// The most milliseconds until writes of other processes are noticed
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub follow: u32,
    /// The most bytes of a JSON body
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub max_body: usize,
    /// The most bytes of all JSON bodies in memory at the same time; others get the status 503
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    pub max_bodies: usize,
    /// The most bytes of an archive to load; it passes through the temporary folder
    #[arg(long, value_name = "BYTES", default_value_t = MAX_ARCHIVE)]
    pub max_archive: u64,
    /// The most bytes that an archive to load may have unpacked. Default 64 GiB, and then no more
    /// than 128 times its own bytes if that is more than 64 MiB
    #[arg(long, value_name = "BYTES")]
    pub max_unpacked: Option<u64>,
    /// The most connections; at the limit, one makes room whose client waits for nothing and takes
    /// nothing, first those that never showed the token. Default: 1024, or fewer if the limit on
    /// open files asks for it
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// The most seconds, up to 86400 as for all times below, without a request under way until a connection is closed; so the most for
    /// the head of a request, and for a pause of a client that reads a response, of which HTTP/2
    /// clients must take 16 KiB in this time
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = seconds(1))]
    pub idle_timeout: u64,
    /// The most seconds for a body, and one more for each 16 KiB of it that has arrived
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = seconds(1))]
    pub body_timeout: u64,
    /// The most seconds that a request waits for the cache, its store and its embedder
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = seconds(1))]
    pub request_timeout: u64,
    /// The most seconds for a dump, a load, or a full check of the store, and as many for receiving
    /// or sending an archive
    #[arg(long, value_name = "S", default_value_t = 3600, value_parser = seconds(1))]
    pub archive_timeout: u64,
    /// The most calls of the embedder at the same time; others wait in line. The bundled encoder
    /// takes no more than there are cores
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u16).range(1..=512))]
    pub max_embeddings: u16,
    /// The seconds between two removals of expired entries; 0: never. Default: 60; 0 for DynamoDB,
    /// which reads the whole table for it while others wait
    #[arg(long, value_name = "S", value_parser = seconds(0))]
    pub vacuum_interval: Option<u64>,
    /// The most namespaces with separate metrics
    #[arg(long, value_name = "N", default_value_t = mneme::observe::DEFAULT_MAX_NAMESPACES)]
    pub max_namespaces: usize,
    /// The most seconds from a signal to the end of the process, at most 3600
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    pub grace: u64,
}

/// Reads a host name, without a port.
fn host_name(text: &str) -> Result<String, String> {
    match Authority::try_from(text) {
        Ok(name) if name.host() == text => Ok(text.to_owned()),
        _ => Err("not a host name; write it without a scheme, user and port".into()),
    }
}

/// Two numbers with a comma between them.
fn lanes(text: &str) -> Result<(u32, u32), String> {
    let (exact, semantic) = text
        .split_once(',')
        .ok_or("give two numbers, such as 8,2: lanes without and with an index")?;
    let number = |text: &str| {
        let number = text.trim().parse::<u32>();
        number.map_err(|error| format!("{text:?} is no number of lanes: {error}"))
    };
    Ok((number(exact)?, number(semantic)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for name in ["cache", "cache.example.com", "10.0.0.1", "[::1]"] {
            assert_eq!(host_name(name).as_deref(), Ok(name));
        }
        for bad in [
            "",
            "cache:7420",
            "http://cache",
            "u@cache",
            "a b",
            "cache/x",
        ] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lanes_are_two_numbers() {
        assert_eq!(lanes("8,2"), Ok((8, 2)));
        assert_eq!(lanes(" 0 , 1 "), Ok((0, 1)));
        for bad in ["", "8", "8,", ",2", "8,2,1", "-1,2", "8;2", "4294967296,1"] {
            assert!(lanes(bad).is_err(), "{bad}");
        }
    }
}
