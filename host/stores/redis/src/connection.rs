//! Connections: opening them, asking over them, reopening them.

use std::time::{Duration, Instant};

use redis::{
    Client, Cmd, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates, Value,
};

use super::error::{Fault, Outcome};
use super::options::Options;
use super::scripts::Script;

/// A connection that was not used for this long is tried before a write, which must not be
/// repeated once it was sent.
const IDLE: Duration = Duration::from_secs(1);

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
    /// How much longer than the call timeout an answer may take.
    pub longer: Duration,
    /// How long to connect, and to wait for an answer, if that is less than the timeouts.
    pub patience: Duration,
}

/// An open connection that owes no answer.
struct Link {
    connection: Connection,
    used: Instant,
    /// How long it waits for an answer.
    timeout: Duration,
}

/// Why an exchange has brought no answer.
struct Broken {
    error: RedisError,
    /// The server has all of the request, and may have done it.
    sent: bool,
}

impl Wire {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            link: None,
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

    /// Sends a command and returns its answer.
    pub fn ask(&mut self, call: Call, command: &Cmd) -> Outcome<Value> {
        let request = command.get_packed_command();
        let timeout = self.timeout();
        if let Some(mut link) = self.link.take()
            && (call == Call::Read || link.is_sound(timeout))
        {
            match link.exchange_within(timeout, &request) {
                Ok(answer) => return self.answered(link, answer),
                Err(broken) => {
                    let again = !broken.sent || (call == Call::Read && !broken.error.is_timeout());
                    if !again || is_nonsense(&broken.error) {
                        return Err(self.lost(call, broken));
                    }
                }
            }
        }
        let mut link = connect(&self.options.clone().within(self.patience))?;
        match link.exchange_within(timeout, &request) {
            Ok(answer) => self.answered(link, answer),
            Err(broken) => Err(self.lost(call, broken)),
        }
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

    fn exchange_within(&mut self, timeout: Duration, request: &[u8]) -> Result<Value, Broken> {
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
    match connect(options) {
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

/// Connects, and says who is asking. The connection's own set-up would hide why the server
/// refuses.
fn connect(options: &Options) -> Outcome<Link> {
    let tls = matches!(options.address, ConnectionAddr::TcpTls { .. });
    if tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may be first, with a provider that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let unconnected = |error| Fault::Unconnected { error, tls };
    let connection = client(options)?
        .get_connection_with_timeout(options.connect_timeout)
        .map_err(unconnected)?;
    let mut link = Link {
        connection,
        used: Instant::now(),
        timeout: Duration::ZERO,
    };
    link.wait(options.connect_timeout).map_err(unconnected)?;
    for command in greeting(options) {
        let answer = link
            .exchange(&command.get_packed_command())
            .map_err(|broken| match is_nonsense(&broken.error) {
                true => nonsense(),
                false => unconnected(broken.error),
            })?;
        answer.extract_error().map_err(Fault::refused)?;
    }
    Ok(link)
}

fn client(options: &Options) -> Outcome<Client> {
    let wrong = |error| {
        Fault::Setup(format!(
            "no client for this address: {error}; correct the URL"
        ))
    };
    let info = options
        .address
        .clone()
        .into_connection_info()
        .map_err(wrong)?;
    let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    let Some(path) = &options.cafile else {
        return Client::open(info).map_err(wrong);
    };
    let pem = std::fs::read(path).map_err(|error| {
        Fault::Setup(format!(
            "cafile {} cannot be read: {error}; give the path of a PEM file",
            path.display()
        ))
    })?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(pem),
    };
    Client::build_with_tls(info, certificates).map_err(|error| {
        Fault::Setup(format!(
            "cafile {} cannot be used: {error}; give the path of a PEM file with certificates",
            path.display()
        ))
    })
}

/// What is said first. At least one command, so that TLS is agreed on here.
fn greeting(options: &Options) -> Vec<Cmd> {
    let mut commands = Vec::new();
    if let Some(password) = &options.password {
        let mut auth = redis::cmd("AUTH");
        auth.arg(options.user.as_slice()).arg(password);
        commands.push(auth);
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
