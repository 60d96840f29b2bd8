//! Connections: opening them, asking over them, reopening them.

use std::path::Path;
use std::time::{Duration, Instant};

use redis::{
    Client, ClientTlsConfig, Cmd, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, Value,
};

use super::error::{Fault, Outcome};
use super::options::{Host, Options, Servers};
use super::routes::{self, Redirect};
use super::scripts::Script;
use super::servers::Settling;

/// A connection that was not used for this long is tried before a write, which must not be
/// repeated once it was sent.
const IDLE: Duration = Duration::from_secs(1);

/// How often a request follows a cluster's nodes that send it to another one.
const REDIRECTS: u32 = 3;

/// What may happen to a call whose connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It changes nothing, so it is repeated.
    Read,
    /// It is not repeated once it was sent. The caller may.
    Write,
    /// As [`Call::Write`], and the caller must not repeat it blindly: a second time, it would
    /// do more, or something else.
    WriteOnce,
}

/// A connection, made when it is needed and after it was lost.
pub(super) struct Wire {
    options: Options,
    link: Option<Link>,
    /// The server to try first: the node that had the data last, or the sentinel that answered.
    first: Option<Host>,
    /// How many connections were made.
    pub connections: u64,
    /// What is done on each connection before it is used.
    pub settling: Option<Settling>,
    /// How much longer than the call timeout an answer may take.
    pub longer: Duration,
    /// How long to connect, and to wait for an answer, if that is less than the timeouts.
    pub patience: Duration,
}

/// An open connection that owes no answer.
pub(super) struct Link {
    /// Who is at the other end.
    pub host: Host,
    connection: Connection,
    /// What is done on a new connection is done.
    settled: bool,
    used: Instant,
    /// How long it waits for an answer.
    timeout: Duration,
}

/// Why an exchange has brought no answer.
pub(super) struct Broken {
    pub error: RedisError,
    /// The server has all of the request, and may have done it.
    pub sent: bool,
}

impl Wire {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            link: None,
            first: None,
            connections: 0,
            settling: None,
            longer: Duration::ZERO,
            patience: Duration::MAX,
        }
    }

    /// Runs a script, which is sent along where the server does not have it.
    pub fn run(
        &mut self,
        call: Call,
        script: &Script,
        key: &str,
        args: &[&[u8]],
    ) -> Outcome<Value> {
        let command = |name: &str, code: &str| {
            let size = args.iter().map(|arg| arg.len()).sum::<usize>() + code.len() + key.len();
            let mut command = Cmd::with_capacity(args.len() + 4, size + 64);
            command.arg(name).arg(code).arg(1).arg(key);
            for arg in args {
                command.arg(*arg);
            }
            command
        };
        let outcome = match self.ask(call, &command("EVALSHA", script.hash())) {
            Err(fault) if fault.is_unknown_script() => {
                self.ask(call, &command("EVAL", script.code))
            }
            outcome => outcome,
        };
        outcome.map_err(|fault| fault.in_script(script))
    }

    /// Sends a command and returns its answer. Where a cluster has moved the data, it follows.
    pub fn ask(&mut self, call: Call, command: &Cmd) -> Outcome<Value> {
        let request = command.get_packed_command();
        let limit = self.timeout().saturating_add(self.patience_to_connect());
        let deadline = Instant::now().checked_add(limit);
        let mut outcome = self.ask_here(call, &request, Duration::MAX);
        for _ in 0..REDIRECTS {
            let Err(Fault::Refused(error)) = &outcome else {
                return outcome;
            };
            let Some(redirect) = self.redirect(error) else {
                return outcome;
            };
            let left = deadline.map_or(Duration::MAX, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            outcome = match redirect {
                Redirect::Moved(host) => {
                    self.link = None;
                    self.first = Some(host);
                    self.ask_here(call, &request, left)
                }
                Redirect::Once(host) => self.ask_there(call, &host, &request, left),
            };
        }
        match &outcome {
            Err(Fault::Refused(error)) if self.redirect(error).is_some() => Err(Fault::astray()),
            _ => outcome,
        }
    }

    /// Where a node of a cluster says the data is.
    fn redirect(&self, error: &RedisError) -> Option<Redirect> {
        match self.options.servers {
            Servers::Cluster(_) => Redirect::of(error, self.first.as_ref()),
            _ => None,
        }
    }

    /// Asks the server that has the data.
    fn ask_here(&mut self, call: Call, request: &[u8], left: Duration) -> Outcome<Value> {
        let timeout = self.timeout().min(left);
        if let Some(mut link) = self.link.take()
            && (call == Call::Read || link.is_sound(timeout))
        {
            match self.exchange(&mut link, timeout, request) {
                Ok(answer) => return self.answered(link, answer),
                Err(broken) => {
                    let again = !broken.sent || (call == Call::Read && !broken.error.is_timeout());
                    if !again || is_nonsense(&broken.error) {
                        return Err(self.lost(call, broken));
                    }
                }
            }
        }
        let options = self.options.clone().within(self.patience.min(left));
        let mut link = routes::connect(&options, &mut self.first)?;
        self.connections += 1;
        match self.exchange(&mut link, timeout, request) {
            Ok(answer) => self.answered(link, answer),
            Err(broken) => Err(self.lost(call, broken)),
        }
    }

    /// Asks on a connection, and first does what is to be done on each.
    fn exchange(
        &self,
        link: &mut Link,
        timeout: Duration,
        request: &[u8],
    ) -> Result<Value, Broken> {
        if let Some(settling) = &self.settling
            && !link.settled
        {
            link.settled = settling.settle(link, timeout)?;
        }
        link.exchange_within(timeout, request)
    }

    /// Asks a node that a moving slot goes to, this once.
    fn ask_there(
        &mut self,
        call: Call,
        host: &Host,
        request: &[u8],
        left: Duration,
    ) -> Outcome<Value> {
        let timeout = self.timeout().min(left);
        let options = self.options.clone().within(self.patience.min(left));
        let mut link = dial(&options, host, options.connect_timeout)?;
        link.say(&greeting(&options))?;
        link.say(&[redis::cmd("ASKING")])?;
        let answer = link
            .exchange_within(timeout, request)
            .map_err(|broken| self.lost(call, broken))?;
        answer.extract_error().map_err(Fault::refused)
    }

    /// Keeps the connection, unless its answer is that it is of no use.
    fn answered(&mut self, link: Link, answer: Value) -> Outcome<Value> {
        let outcome = answer.extract_error().map_err(Fault::refused);
        if !outcome.as_ref().is_err_and(Fault::spoils_connection) {
            self.link = Some(link);
        }
        outcome
    }

    fn lost(&self, call: Call, broken: Broken) -> Fault {
        if is_nonsense(&broken.error) {
            return nonsense();
        }
        Fault::Lost {
            error: broken.error,
            unknown: call == Call::WriteOnce && broken.sent,
            waited: self.timeout(),
        }
    }

    /// How long the answer to a request is waited for.
    fn timeout(&self) -> Duration {
        let limit = self.options.call_timeout.saturating_add(self.longer);
        limit.min(self.patience)
    }

    fn patience_to_connect(&self) -> Duration {
        self.options.connect_timeout.min(self.patience)
    }
}

impl Link {
    /// Whether the connection is still there, as far as can be told without asking for more
    /// than an idle one is worth.
    fn is_sound(&mut self, timeout: Duration) -> bool {
        self.used.elapsed() < IDLE
            || self
                .exchange_within(timeout, &redis::cmd("PING").get_packed_command())
                .is_ok()
    }

    /// Says what the server has to agree to.
    pub fn say(&mut self, commands: &[Cmd]) -> Outcome<()> {
        commands.iter().try_for_each(|command| {
            self.put(command)?;
            Ok(())
        })
    }

    /// Asks on a connection that is not in use yet, in the time that it was dialled with.
    pub fn put(&mut self, command: &Cmd) -> Outcome<Value> {
        let answer = self.exchange(&command.get_packed_command());
        let answer = answer.map_err(|broken| match is_nonsense(&broken.error) {
            true => nonsense(),
            false => Fault::Unconnected {
                error: broken.error,
                at: self.host.clone(),
            },
        })?;
        answer.extract_error().map_err(Fault::refused)
    }

    pub fn exchange_within(&mut self, timeout: Duration, request: &[u8]) -> Result<Value, Broken> {
        self.wait(timeout)
            .map_err(|error| Broken { error, sent: false })?;
        self.exchange(request)
    }

    /// Sets how long answers are waited for.
    fn wait(&mut self, timeout: Duration) -> Result<(), RedisError> {
        if self.timeout != timeout {
            self.connection.set_read_timeout(Some(timeout))?;
            self.connection.set_write_timeout(Some(timeout))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Value, Broken> {
        self.connection
            .send_packed_command(request)
            .map_err(|error| Broken { error, sent: false })?;
        let answer = self
            .connection
            .recv_response()
            .map_err(|error| Broken { error, sent: true })?;
        self.used = Instant::now();
        Ok(answer)
    }
}

/// Whether a server at this address answers, whatever it says.
pub(super) fn answers(options: &Options) -> bool {
    match routes::connect(options, &mut None) {
        Err(Fault::Unconnected { error, .. }) => !error.is_timeout(),
        _ => true,
    }
}

/// Whether something came over the connection that no Redis server says.
fn is_nonsense(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType
    )
}

fn nonsense() -> Fault {
    Fault::Nonsense("the server's answer is not of Redis's protocol".to_owned())
}

/// Connects to a server, in no longer time than this, and leaves that time to what is said first.
pub(super) fn dial(options: &Options, host: &Host, patience: Duration) -> Outcome<Link> {
    if options.tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may be first, with a provider that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let unconnected = |error| Fault::Unconnected {
        error,
        at: host.clone(),
    };
    let patience = patience.max(Duration::from_millis(1));
    let connection = client(options, host)?
        .get_connection_with_timeout(patience)
        .map_err(unconnected)?;
    let mut link = Link {
        host: host.clone(),
        connection,
        settled: false,
        used: Instant::now(),
        timeout: Duration::ZERO,
    };
    link.wait(patience).map_err(unconnected)?;
    Ok(link)
}

fn client(options: &Options, host: &Host) -> Outcome<Client> {
    let wrong = |error| {
        Fault::Setup(format!(
            "no client for this address: {error}; correct the URL"
        ))
    };
    let (name, port) = (host.name.clone(), host.port);
    let address = match options.tls {
        false => ConnectionAddr::Tcp(name, port),
        true => ConnectionAddr::TcpTls {
            host: name,
            port,
            insecure: false,
            tls_params: None,
        },
    };
    let info = address.into_connection_info().map_err(wrong)?;
    // The connection's own set-up would hide why the server refuses.
    let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    if options.cafile.is_none() && options.identity.is_none() {
        return Client::open(info).map_err(wrong);
    }
    let root_cert = options.cafile.as_deref().map(|path| pem("cafile", path));
    let client_tls = options.identity.as_ref().map(|(certificate, key)| {
        Outcome::Ok(ClientTlsConfig {
            client_cert: pem("certfile", certificate)?,
            client_key: pem("keyfile", key)?,
        })
    });
    let certificates = TlsCertificates {
        client_tls: client_tls.transpose()?,
        root_cert: root_cert.transpose()?,
    };
    Client::build_with_tls(info, certificates).map_err(|error| {
        Fault::Setup(format!(
            "cafile, certfile or keyfile cannot be used: {error}; give the paths of PEM files, two with certificates and the last with the key of certfile"
        ))
    })
}

/// The content of a file that a parameter names.
fn pem(parameter: &str, path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Fault::Setup(format!(
            "{parameter} {} cannot be read: {error}; give the path of a PEM file",
            path.display()
        ))
    })
}

/// What is said first to a server with data. At least one command, so that TLS is agreed on here.
pub(super) fn greeting(options: &Options) -> Vec<Cmd> {
    let mut commands = Vec::new();
    if let Some(password) = &options.password {
        commands.push(auth(options.user.as_deref(), password));
    }
    if options.database != 0 {
        let mut select = redis::cmd("SELECT");
        select.arg(options.database);
        commands.push(select);
    }
    if commands.is_empty() {
        commands.push(redis::cmd("PING"));
    }
    commands
}

pub(super) fn auth(user: Option<&str>, password: &str) -> Cmd {
    let mut auth = redis::cmd("AUTH");
    auth.arg(user.as_slice()).arg(password);
    auth
}
