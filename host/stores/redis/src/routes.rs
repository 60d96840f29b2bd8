//! The way to the server that has the data: a cluster's node, or the master that sentinels name.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::connection::{Link, auth, dial, greeting};
use super::error::{Fault, Outcome};
use super::options::{Host, Options, Sentinels, Servers};
use super::rows;

/// How many times a search for a node follows others before it is a loop.
const FOLLOWED: u32 = 8;

/// Where a node of a cluster says that data is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// There from now on.
    Moved(Host),
    /// There for this request, as the slot is moving.
    Once(Host),
}

impl Redirect {
    /// What an error says, of a node at `from`, which stands for an address without a name.
    pub fn of(error: &RedisError, from: Option<&Host>) -> Option<Self> {
        let (address, _) = error.redirect_node()?;
        let (name, port) = address.rsplit_once(':')?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let host = Host {
            name: match name {
                "" => from?.name.clone(),
                name => name.to_owned(),
            },
            port: port.parse().ok()?,
        };
        Some(match error.kind() {
            ErrorKind::Server(ServerErrorKind::Ask) => Self::Once(host),
            _ => Self::Moved(host),
        })
    }
}

/// Connects to the server that has the data, and says who is asking, all within the connect
/// timeout. `first` is whom to try first, and in the end whom to try first the next time.
pub(super) fn connect(options: &Options, first: &mut Option<Host>) -> Outcome<Link> {
    match &options.servers {
        Servers::One(host) => {
            let mut link = dial(options, host, options.connect_timeout)?;
            link.say(&greeting(options))?;
            Ok(link)
        }
        Servers::Cluster(nodes) => in_cluster(options, nodes, first),
        Servers::Sentinels(sentinels) => by_sentinels(options, sentinels, first),
    }
}

/// The time that is left, in fair shares.
struct Time(Option<Instant>);

impl Time {
    fn of(options: &Options) -> Self {
        Self(Instant::now().checked_add(options.connect_timeout))
    }

    /// The share of each of so many who are still to be asked. None where there is no time left.
    fn share(&self, of: usize) -> Option<Duration> {
        let left = self.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        });
        let of = u32::try_from(of).unwrap_or(u32::MAX).max(1);
        (!left.is_zero()).then(|| left / of)
    }
}

/// Why nobody has led to the data: the first words of a server, else the first failure to reach
/// one.
#[derive(Default)]
struct Failure(Option<Fault>);

impl Failure {
    fn add(&mut self, fault: Fault) {
        let better = match &self.0 {
            None => true,
            Some(known) => known.is_of_connection() && !fault.is_of_connection(),
        };
        if better {
            self.0 = Some(fault);
        }
    }

    fn into_fault(self) -> Fault {
        self.0.unwrap_or_else(Fault::astray)
    }
}

/// Finds the node that has the slot of all keys. Only a master says that it has it.
fn in_cluster(options: &Options, nodes: &[Host], first: &mut Option<Host>) -> Outcome<Link> {
    let time = Time::of(options);
    let mut failure = Failure::default();
    let mut followed = 0;
    let mut queue: VecDeque<Host> = first
        .iter()
        .chain(nodes.iter().filter(|node| first.as_ref() != Some(node)))
        .cloned()
        .collect();
    while let Some(node) = queue.pop_front() {
        let Some(share) = time.share(queue.len() + 1) else {
            break;
        };
        match node_at(options, &node, share) {
            Ok(Ok(link)) => {
                *first = Some(node);
                return Ok(link);
            }
            Ok(Err(_)) if followed == FOLLOWED => return Err(Fault::astray()),
            Ok(Err(other)) => {
                followed += 1;
                queue.push_front(other);
            }
            Err(fault) => failure.add(fault),
        }
    }
    Err(failure.into_fault())
}

/// Connects to a node, which has the data or names one that may have it.
fn node_at(options: &Options, node: &Host, patience: Duration) -> Outcome<Result<Link, Host>> {
    let mut link = dial(options, node, patience)?;
    link.say(&greeting(options))?;
    // The default of every connection. A server without cluster mode refuses it.
    if let Err(fault) = link.say(&[redis::cmd("READWRITE")]) {
        return Err(match &fault {
            Fault::Refused(error) if error.to_string().contains("cluster support disabled") => {
                Fault::Setup(format!(
                    "the server {node} is no node of a cluster; write redis:// in place of redis+cluster://, and its prefix as it was"
                ))
            }
            _ => fault,
        });
    }
    match link.put(redis::cmd("EXISTS").arg(options.by_id())) {
        Ok(_) => Ok(Ok(link)),
        Err(Fault::Refused(error)) => match Redirect::of(&error, Some(node)) {
            Some(Redirect::Moved(other)) => Ok(Err(other)),
            // The slot is this node's still.
            Some(Redirect::Once(_)) => Ok(Ok(link)),
            None => Err(Fault::Refused(error)),
        },
        Err(fault) => Err(fault),
    }
}

/// Asks one sentinel after the other for the master, and connects to it.
fn by_sentinels(
    options: &Options,
    sentinels: &Sentinels,
    first: &mut Option<Host>,
) -> Outcome<Link> {
    let time = Time::of(options);
    let mut failure = Failure::default();
    let mut hosts: Vec<&Host> = sentinels.hosts.iter().collect();
    hosts.sort_by_key(|host| first.as_ref() != Some(host));
    let count = hosts.len();
    for (n, sentinel) in hosts.into_iter().enumerate() {
        // Each sentinel may name a master, which is to be reached too.
        let Some(share) = time.share(2 * (count - n)) else {
            break;
        };
        let found = master_by(options, sentinels, sentinel, share).and_then(|master| {
            let share = time.share(2 * (count - n) - 1).unwrap_or_default();
            master_at(options, &master, share)
        });
        match found {
            Ok(link) => {
                *first = Some(sentinel.clone());
                return Ok(link);
            }
            Err(fault) => failure.add(fault),
        }
    }
    Err(failure.into_fault())
}

/// The address of the master by the word of a sentinel.
fn master_by(
    options: &Options,
    sentinels: &Sentinels,
    sentinel: &Host,
    patience: Duration,
) -> Outcome<Host> {
    let mut link = dial(options, sentinel, patience)?;
    let refused = |fault: Fault| match fault {
        Fault::Refused(error) if error.to_string().contains("unknown command") => {
            Fault::Setup(format!(
                "the server {sentinel} is no sentinel; give the addresses of sentinels, whose port is {} by default",
                super::options::SENTINEL_PORT
            ))
        }
        Fault::Refused(error) => Fault::Setup(format!(
            "the sentinel {sentinel} refused: {} {}; give sentinel_user and sentinel_password as the sentinels have them",
            error.code().unwrap_or_default(),
            error.detail().unwrap_or_default()
        )),
        Fault::Rights(command) => Fault::Setup(format!(
            "the sentinel {sentinel} does not let the user run the command {command}; grant it there"
        )),
        other => other,
    };
    if let Some(password) = &sentinels.password {
        let auth = auth(sentinels.user.as_deref(), password);
        link.say(&[auth]).map_err(refused)?;
    }
    let mut get = redis::cmd("SENTINEL");
    get.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinels.master);
    let answer = link.put(&get).map_err(refused)?;
    if answer == Value::Nil {
        return Err(Fault::Setup(format!(
            "the sentinel {sentinel} knows no master of this name; give the name in its configuration as the parameter master"
        )));
    }
    let [name, port] = rows::tuple(answer)?;
    let text = |value| {
        let bytes = rows::bytes(value)?.unwrap_or_default();
        Outcome::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (name, port) = (text(name)?, text(port)?);
    let port = port.parse().map_err(|_| {
        Fault::Nonsense(format!(
            "the sentinel {sentinel} gave an address without a port"
        ))
    })?;
    Ok(Host { name, port })
}

/// Connects to a server that is said to be the master, if it thinks so too.
fn master_at(options: &Options, master: &Host, patience: Duration) -> Outcome<Link> {
    let mut link = dial(options, master, patience)?;
    link.say(&greeting(options))?;
    let role = rows::list(link.put(&redis::cmd("ROLE"))?)?;
    let role = role.into_iter().next().unwrap_or(Value::Nil);
    match rows::bytes(role)?.as_deref() {
        Some(b"master") => Ok(link),
        _ => Err(Fault::Later(format!(
            "the sentinels name {master}, which is a replica: a fail-over is under way, so call again"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_a_host() {
        let from = Host {
            name: "n".into(),
            port: 1,
        };
        let of = |line: &str| {
            let answer = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
            Redirect::of(&answer.extract_error().unwrap_err(), Some(&from))
        };
        let host = |name: &str, port| Host {
            name: name.into(),
            port,
        };
        for (line, expected) in [
            ("-MOVED 1 h:7000", Some(Redirect::Moved(host("h", 7000)))),
            ("-ASK 1 h:7000", Some(Redirect::Once(host("h", 7000)))),
            (
                "-MOVED 1 ::1:7000",
                Some(Redirect::Moved(host("::1", 7000))),
            ),
            (
                "-MOVED 1 [::1]:7000",
                Some(Redirect::Moved(host("::1", 7000))),
            ),
            ("-MOVED 1 :7000", Some(Redirect::Moved(host("n", 7000)))),
            ("-MOVED 1 h", None),
            ("-MOVED 1 h:x", None),
            ("-MOVED", None),
            ("-ERR MOVED 1 h:7000", None),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
    }
}
