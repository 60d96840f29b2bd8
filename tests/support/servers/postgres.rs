//! `postgres`, from any installed release.

use super::pgbouncer::PgBouncer;
use super::{Daemon, PATIENCE, free_port};
use crate::children::Running;
use crate::python::pgvector;
use crate::rows::{DIM, FINGERPRINT};
use crate::suite::Provided;
use mneme::PostgresStore;
use mneme::store::Store;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A Postgres server with one superuser, `mneme`, whose password is `secret-of-the-tests`,
/// and the database `postgres`.
pub struct Postgres {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    /// The folder of its programs, if they are not the installed ones.
    release: Option<PathBuf>,
    process: Option<Daemon>,
}

/// The password of the server's user.
pub const PASSWORD: &str = "secret-of-the-tests";

/// A server for one test.
impl Provided for Postgres {
    fn provide(_: &str) -> Result<Self, String> {
        Self::start()
    }
}

/// A server that tests share: see [`Postgres::shared`].
impl Provided for Arc<Postgres> {
    fn provide(_: &str) -> Result<Self, String> {
        Postgres::shared()
    }
}

impl Postgres {
    /// Starts a server. The error says why there is none.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn start() -> Result<Self, String> {
        Self::with(&[])
    }

    /// Starts a server with settings, such as `max_connections=3`.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn with(settings: &[&str]) -> Result<Self, String> {
        Self::prepared(settings, None, |_| Ok(()))
    }

    /// Starts a server that has pgvector, from a package of Python's.
    ///
    /// # Errors
    ///
    /// Where there is no Python, the package cannot be had, or the server does not answer.
    pub fn with_pgvector() -> Result<Self, String> {
        let release = pgvector()?;
        Self::prepared(&[], Some(release), |_| Ok(()))
    }

    /// Starts a server that offers TLS, with a certificate for `localhost`. The path is that
    /// of the certificate that signed it.
    ///
    /// # Errors
    ///
    /// Where Postgres or OpenSSL is not installed, or the server does not answer.
    pub fn with_tls() -> Result<(Self, PathBuf), String> {
        let settings = [
            "ssl=on",
            "ssl_cert_file=../server.pem",
            "ssl_key_file=../server.key",
        ];
        let server = Self::prepared(&settings, None, make_certificates)?;
        let authority = server.folder.path().join("authority.pem");
        Ok((server, authority))
    }

    /// Starts a server that follows another one, and only reads until it is [promoted](Self::promote).
    /// The settings are those of the other one.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn standby(of: &Self) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        lend(folder.path())?;
        run(program("pg_basebackup")?
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &of.port.to_string(), "-U", "mneme"])
            .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
            .arg("--pgdata")
            .arg(folder.path().join("data")))?;
        Self::on(folder, of.options.clone(), of.release.clone())
    }

    /// Makes a standby a server that writes.
    ///
    /// # Panics
    ///
    /// Where it is none, or does not answer.
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
    }

    /// The folder of its sockets, if its settings say `unix_socket_directories=.`.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A server that tests which run at the same time share, and that is stopped when the
    /// last of them ends. Each works in its own schemas.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn shared() -> Result<Arc<Self>, String> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Starts a server after `prepare` has put into its folder what it needs there.
    fn prepared(
        settings: &[&str],
        release: Option<PathBuf>,
        prepare: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        prepare(folder.path())?;
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).map_err(|error| error.to_string())?;
        lend(folder.path())?;
        run(program_of(release.as_deref(), "initdb")?
            .arg("--pgdata")
            .arg(&data)
            .args(["--username", "mneme", "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password))?;
        let settings = settings.iter().map(ToString::to_string).collect();
        Self::on(folder, settings, release)
    }

    /// Starts a server on the data in a folder.
    fn on(folder: TempDir, options: Vec<String>, release: Option<PathBuf>) -> Result<Self, String> {
        let mut server = Postgres {
            port: free_port().map_err(|error| error.to_string())?,
            folder,
            options,
            release,
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server and all of its processes with SIGKILL.
    pub fn kill(&mut self) {
        let Some(postmaster) = self.process.take() else {
            return;
        };
        // Without it they would go on for a moment.
        let parent = postmaster.0.id().to_string();
        let children = Command::new("pgrep").args(["-P", &parent]).output();
        drop(postmaster);
        if let Ok(children) = children {
            let children = String::from_utf8_lossy(&children.stdout).into_owned();
            // Most have ended by themselves.
            let _ = Command::new("kill")
                .arg("-KILL")
                .args(children.split_whitespace())
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Starts the server again on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let data = self.folder.path().join("data");
        let mut command = program_of(self.release.as_deref(), "postgres")?;
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(self.options.iter().flat_map(|option| ["-c", option]));
        let log = self.folder.path().join("server.log");
        let pid_file = data.join("postmaster.pid");
        let start = Instant::now();
        loop {
            match Daemon::start(&mut command, &log, |pid| is_ready(&pid_file, pid)) {
                Ok(process) => {
                    self.process = Some(process);
                    return Ok(());
                }
                // The processes of a server that was killed take a moment to notice.
                Err(said) if said.contains("shared memory") && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(said) => return Err(said),
            }
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server's database, without parameters.
    pub fn url(&self) -> String {
        url("mneme", self.port)
    }

    /// A closed store in a schema.
    ///
    /// # Panics
    ///
    /// Where the store refuses the URL.
    pub fn store(&self, schema: &str) -> PostgresStore {
        let store = PostgresStore::from_url(&self.url());
        store.unwrap().schema(schema)
    }

    /// A closed store in a schema, whose sessions have the schema's name.
    ///
    /// # Panics
    ///
    /// Where the store refuses the URL.
    pub fn named_store(&self, schema: &str) -> PostgresStore {
        let url = format!("{}?schema={schema}&application_name={schema}", self.url());
        PostgresStore::from_url(&url).unwrap()
    }

    /// The same, opened for the entries of [`rows`](crate::rows).
    ///
    /// # Panics
    ///
    /// Where it does not open.
    pub fn opened(&self, schema: &str) -> PostgresStore {
        let mut store = self.named_store(schema);
        store.open(FINGERPRINT, DIM).unwrap();
        store
    }

    /// Runs SQL past the store, in one transaction, and returns the rows: `|` between the
    /// columns, a line each.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn attempt(&self, sql: &str) -> Result<String, String> {
        self.attempt_in("postgres", sql)
    }

    /// Runs SQL in another database of the server, as [`attempt`](Self::attempt) does.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn attempt_in(&self, database: &str, sql: &str) -> Result<String, String> {
        attempt_at(self.port, database, sql)
    }

    /// Runs SQL past the store, in one transaction, and returns the rows: `|` between the
    /// columns, a line each.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    pub fn sql(&self, sql: &str) -> String {
        self.attempt(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Another program with its own session.
    ///
    /// # Panics
    ///
    /// Where `psql` is not installed.
    pub fn other(&self) -> Other {
        Other(Running::start(
            &mut psql(self.port, "postgres").expect("psql is installed"),
        ))
    }
}

/// Runs SQL past the store, in one transaction, on the server or pooler that listens on a port.
fn attempt_at(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let mut psql = psql(port, database)?;
    let output = psql.args(["-c", sql]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Runs SQL by way of a pooler, as [`Postgres::sql`] does without one.
///
/// # Panics
///
/// Where the server or the pooler refuses it.
pub fn sql_by(pooler: &PgBouncer, sql: &str) -> String {
    let told = attempt_at(pooler.port(), "postgres", sql);
    told.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// `psql` as the superuser, whose output is the bare rows.
fn psql(port: u16, database: &str) -> Result<Command, String> {
    let path = find("psql").ok_or("psql is not installed")?;
    let mut command = Command::new(path);
    command
        .env("PGPASSWORD", PASSWORD)
        .args(["--no-psqlrc", "--no-password", "--quiet", "-A", "-t"])
        .args(["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"])
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-U", "mneme", database]);
    Ok(command)
}

/// The URL of a server's database for one of its roles, whose password is [`PASSWORD`].
pub fn url(role: &str, port: u16) -> String {
    format!("postgres://{role}:{PASSWORD}@127.0.0.1:{port}/postgres")
}

/// A session of another program. Dropping it ends it in the middle of what it does.
pub struct Other(Running);

impl Other {
    /// Begins to run SQL, without waiting for its end.
    pub fn begin(&mut self, sql: &str) {
        self.0.tell(&format!("{sql};\n\\echo\n\\echo child>done"));
    }

    /// Waits for the end of what was begun; false where the server refused it, after which
    /// the session is over.
    pub fn ended(&mut self) -> bool {
        self.0.line().is_some()
    }

    /// Runs SQL.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    pub fn run(&mut self, sql: &str) {
        self.begin(sql);
        assert!(self.ended(), "{sql}");
    }
}

/// An authority, and a certificate of it for `localhost`.
fn make_certificates(folder: &Path) -> Result<(), String> {
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let request = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .current_dir(folder)
            .args(["req", "-x509", "-days", "2"]);
        run(command.args(key).args(arguments))
    };
    request(&[
        "-subj",
        "/CN=authority",
        "-keyout",
        "authority.key",
        "-out",
        "authority.pem",
    ])?;
    request(&[
        "-subj",
        "/CN=server",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-CA",
        "authority.pem",
        "-CAkey",
        "authority.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ])
}

/// Gives a folder to the user that servers run as.
pub(super) fn lend(folder: &Path) -> Result<(), String> {
    match is_root() {
        true => run(Command::new("chown").arg("-R").arg("postgres").arg(folder)),
        false => Ok(()),
    }
}

/// Whether the server says in its file that it takes connections.
fn is_ready(pid_file: &Path, pid: u32) -> bool {
    std::fs::read_to_string(pid_file).is_ok_and(|text| {
        let mut lines = text.lines();
        // A server that was killed has left its file.
        lines.next() == Some(&pid.to_string()) && lines.nth(6).map(str::trim) == Some("ready")
    })
}

/// A program of the installed Postgres, or PgBouncer. It does not run as root, so root lends it to
/// the user that Debian's package made.
pub(super) fn program(name: &str) -> Result<Command, String> {
    program_of(None, name)
}

/// The same, of the release in a folder.
fn program_of(release: Option<&Path>, name: &str) -> Result<Command, String> {
    let path = match release {
        Some(folder) => folder.join(name),
        None => find(name).ok_or_else(|| format!("no server: {name} is not installed"))?,
    };
    if !is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(path)
        .current_dir("/");
    Ok(command)
}

/// Debian keeps the programs of each release in its own folder.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(releases) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(releases.flatten().map(|release| release.path().join("bin")));
    }
    // Where Debian keeps PgBouncer, and only root looks.
    folders.push("/usr/sbin".into());
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = |program: &OsStr| program.to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{}: {}",
            name(command.get_program()),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!(
            "no server: {}: {error}",
            name(command.get_program())
        )),
    }
}
