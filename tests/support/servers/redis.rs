//! `redis-server`.

pub mod cluster;
pub mod sentinel;

use super::{Daemon, free_port};
use crate::suite::Provided;
use mneme::RedisStore;
use redis::{Connection, FromRedisValue};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A Redis server that writes each command to disk before it answers.
pub struct Redis {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Daemon>,
    /// The port for TLS, where it has one.
    tls_port: Option<u16>,
}

/// A server for one test.
impl Provided for Redis {
    fn provide(_: &str) -> Result<Self, String> {
        Self::start()
    }
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
        let mut server = Self::stopped(options)?;
        server.restart()?;
        Ok(server)
    }

    /// Starts a server that also takes TLS connections, on another port, with a certificate
    /// for 127.0.0.1 by its own authority.
    ///
    /// # Errors
    ///
    /// Where `redis-server` or `openssl` is not installed, or the server does not answer.
    pub fn with_tls() -> Result<Self, String> {
        Self::with_tls_and("no")
    }

    /// The same, and clients need a certificate by that authority.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_tls_for_clients() -> Result<Self, String> {
        Self::with_tls_and("yes")
    }

    fn with_tls_and(clients: &str) -> Result<Self, String> {
        let mut server = Self::stopped(&[])?;
        let port = free_port().map_err(|error| error.to_string())?;
        let folder = server.folder.path();
        certify(folder)?;
        server.options = [
            ("--tls-port", port.to_string()),
            ("--tls-auth-clients", clients.to_owned()),
            ("--tls-cert-file", path(folder, "server.crt")),
            ("--tls-key-file", path(folder, "server.key")),
            ("--tls-ca-cert-file", path(folder, "ca.crt")),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        server.tls_port = Some(port);
        server.restart()?;
        Ok(server)
    }

    fn stopped(options: &[&str]) -> Result<Self, String> {
        Ok(Redis {
            port: free_port().map_err(|error| error.to_string())?,
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            options: options.iter().map(ToString::to_string).collect(),
            process: None,
            tls_port: None,
        })
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again on the same port and data, killing it first if it runs.
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

    /// The port for TLS.
    ///
    /// # Panics
    ///
    /// Where the server was started without.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("the server was started with TLS")
    }

    /// The certificate of the authority that has certified the server.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The server's certificate and its key, which do for a client too.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        let file = |name: &str| self.folder.path().join(name);
        (file("server.crt"), file("server.key"))
    }

    /// Whether it was started, and not killed since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Waits until this replica has all of its master.
    ///
    /// # Panics
    ///
    /// Where one of them cannot be reached, or is no master or replica.
    pub fn catch_up(&self, master: &Self) {
        let (mut ours, mut theirs) = (self.client(), master.client());
        let offset = |client: &mut Client, field: &str| {
            let info: String = client.run(&["INFO", "replication"]);
            let lines = info.lines();
            let offsets = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            offsets.map(str::to_owned).next().expect("it has an offset")
        };
        while offset(&mut theirs, "master_repl_offset") != offset(&mut ours, "slave_repl_offset") {
            std::thread::yield_now();
        }
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

    /// All keys with what they hold as text, but the random mark `incarnation` and the log
    /// `changes`: bytes beyond ASCII are escaped, hashes and sets are sorted, members of sorted
    /// sets have their scores.
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
            if key.ends_with(b":incarnation") || key.ends_with(b":changes") {
                continue;
            }
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

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

/// Makes an authority, and a certificate for 127.0.0.1.
fn certify(folder: &Path) -> Result<(), String> {
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
    std::fs::write(folder.join("extensions"), extensions).map_err(|error| error.to_string())?;
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=tests"];
    let authority = authority.into_iter().chain(key);
    openssl(
        folder,
        authority.chain(["-keyout", "ca.key", "-out", "ca.crt"]),
    )?;
    let request = ["req", "-subj", "/CN=127.0.0.1"].into_iter().chain(key);
    openssl(
        folder,
        request.chain(["-keyout", "server.key", "-out", "server.csr"]),
    )?;
    let sign = [
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-days",
        "2",
        "-CA",
        "ca.crt",
    ];
    let more = [
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "extensions",
    ];
    openssl(
        folder,
        sign.into_iter().chain(more).chain(["-out", "server.crt"]),
    )
}

fn openssl<'a>(folder: &Path, arguments: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder);
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("no certificates: openssl: {error}")),
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
