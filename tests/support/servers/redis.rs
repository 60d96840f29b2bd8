//! `redis-server`.

use super::{Daemon, free_port};
use mneme::RedisStore;
use redis::{Connection, FromRedisValue};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

/// A Redis server that writes each command to disk before it answers.
pub struct Redis {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Daemon>,
}

impl Redis {
    /// Starts a server. The error says why there is none.
    ///
    /// # Errors
    ///
    /// Where `redis-server` is not installed or does not answer.
    pub fn start() -> Result<Self, String> {
        Self::with(&[])
    }

    /// Starts a server with more options of its command line.
    ///
    /// # Errors
    ///
    /// Where `redis-server` is not installed or does not answer.
    pub fn with(options: &[&str]) -> Result<Self, String> {
        let mut server = Redis {
            port: free_port().map_err(|error| error.to_string())?,
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            options: options.iter().map(ToString::to_string).collect(),
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server anew on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.process = None;
        let port = self.port;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options);
        let log = self.folder.path().join("server.log");
        self.process = Some(Daemon::start(&mut command, &log, |_| answers(port))?);
        Ok(())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server, without a path.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A closed store on the server.
    ///
    /// # Panics
    ///
    /// Where the store refuses the URL.
    pub fn store(&self, prefix: &str) -> RedisStore {
        RedisStore::from_url(&self.url()).unwrap().prefix(prefix)
    }

    /// A client that looks past the store.
    ///
    /// # Panics
    ///
    /// Where the server cannot be reached.
    pub fn client(&self) -> Client {
        let client = redis::Client::open(self.url()).unwrap();
        Client(client.get_connection().unwrap())
    }
}

/// A client of a Redis server.
pub struct Client(Connection);

impl Client {
    /// Runs a command.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn attempt<T: FromRedisValue>(&mut self, command: &[&str]) -> redis::RedisResult<T> {
        let (name, arguments) = command.split_first().expect("a command has a name");
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command.query(&mut self.0)
    }

    /// Runs a command.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    pub fn run<T: FromRedisValue>(&mut self, command: &[&str]) -> T {
        self.attempt(command)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// All keys with what they hold, as text: bytes beyond ASCII are escaped, hashes and sets are
    /// sorted, members of sorted sets have their scores.
    ///
    /// # Panics
    ///
    /// Where they cannot be read.
    pub fn dump(&mut self) -> BTreeMap<String, String> {
        let keys: Vec<Vec<u8>> = self.run(&["KEYS", "*"]);
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let mut all = BTreeMap::new();
        for key in keys {
            let ask = |name: &str, more: &[&str]| {
                let mut command = redis::cmd(name);
                command.arg(&key).arg(more);
                command
            };
            let kind: String = ask("TYPE", &[]).query(&mut self.0).unwrap();
            let command = match &*kind {
                "string" => ask("GET", &[]),
                "hash" => ask("HGETALL", &[]),
                "set" => ask("SMEMBERS", &[]),
                "list" => ask("LRANGE", &["0", "-1"]),
                "zset" => ask("ZRANGE", &["0", "-1", "WITHSCORES"]),
                other => panic!("{}: {other}", shown(&key)),
            };
            let values: Vec<Vec<u8>> = match &*kind {
                "string" => vec![command.query(&mut self.0).unwrap()],
                _ => command.query(&mut self.0).unwrap(),
            };
            let width = if matches!(&*kind, "hash" | "zset") {
                2
            } else {
                1
            };
            let mut items: Vec<String> = values
                .chunks(width)
                .map(|item| {
                    item.iter()
                        .map(|part| shown(part))
                        .collect::<Vec<_>>()
                        .join("=")
                })
                .collect();
            if matches!(&*kind, "hash" | "set") {
                items.sort();
            }
            all.insert(shown(&key), items.join(" "));
        }
        all
    }
}

/// Whether the server answers, and has read its data.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.write_all(b"PING\r\n")?;
        let mut line = String::new();
        BufReader::new(connection).read_line(&mut line)?;
        Ok::<_, std::io::Error>(line)
    };
    // Also a server that wants a password is there.
    ask().is_ok_and(|line| line.starts_with("+PONG") || line.starts_with("-NOAUTH"))
}
