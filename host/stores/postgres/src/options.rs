//! What a URL says.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use url::form_urlencoded;

use super::error::describe;
use super::hosts::Server;
use super::nearest::Element;
use super::pooler::Pooler;
use mneme_store::parameters::Parameters;
use mneme_store::{Result, StoreError};

/// How a URL begins.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The parameters that are ours, or that we read differently from the client.
const OWN: [&str; 7] = [
    "schema",
    "nearest",
    "pooler",
    "sslmode",
    "sslrootcert",
    "connect_timeout_ms",
    "call_timeout_ms",
];

/// The parameters that the client knows from libpq.
const PASSED_ON: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Those of them that name the servers.
const OF_SERVERS: [&str; 3] = ["host", "hostaddr", "port"];

const FORM: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME";

/// Whether connections are encrypted, and what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server can. Whoever sits in between could say that it cannot, so
    /// nothing is checked.
    Prefer,
    /// Always encrypted, the certificate and its name checked.
    Verify,
}

/// Where and how to connect.
#[derive(Clone)]
pub(super) struct Options {
    /// Without the servers.
    pub config: Config,
    /// In the order of the URL, at least one.
    pub servers: Vec<Server>,
    /// Whether the store searches vectors, and what it holds them as.
    pub nearest: Option<Element>,
    pub pooler: Pooler,
    pub tls: Tls,
    /// The file with the certificates that are trusted; none for the system's.
    pub roots: Option<PathBuf>,
    pub schema: String,
    pub connect_timeout: Duration,
    pub call_timeout: Duration,
}

impl Options {
    /// Reads a URL. No error shows more of it than the name of a parameter.
    pub fn parse(url: &str) -> Result<Self> {
        let rest = SCHEMES
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| invalid(format!("the URL of a Postgres store begins with postgres:// or postgresql://; write {FORM}")))?;
        // As libpq has it: user and password end at an `@` before any `/`, the place at a `?`.
        let login = rest
            .find(['@', '/'])
            .filter(|at| rest[*at..].starts_with('@'))
            .map_or(0, |at| at + 1);
        let (login, place) = rest.split_at(login);
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        // What is before it may be a part of the password.
        if place.contains('@') {
            return Err(invalid(format!(
                "the URL of a Postgres store has an @ in the wrong place; write {FORM}, with %40 for an @ and %2F for a / in user, password or database"
            )));
        }
        // As libpq does, a plus sign is taken for itself.
        let query = query.replace('+', "%2B");
        let pairs = form_urlencoded::parse(query.as_bytes());
        let known = [&OWN[..], &PASSED_ON].concat();
        let mut given = Parameters::read("a Postgres store", pairs, &known, true)?;
        let connect_timeout = given.milliseconds("connect_timeout_ms", Duration::from_secs(5))?;
        let call_timeout = given.milliseconds("call_timeout_ms", Duration::from_secs(10))?;
        let [schema, nearest, pooler, sslmode, roots] =
            ["schema", "nearest", "pooler", "sslmode", "sslrootcert"].map(|name| given.take(name));
        let (mut of_servers, mut passed_on) = (String::new(), String::new());
        for (key, value) in given.rest() {
            let (to, values) = match OF_SERVERS.contains(&&*key) {
                true => (&mut of_servers, value.split(',').collect()),
                false => (&mut passed_on, vec![&*value]),
            };
            for value in values {
                let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
                to.push_str(&format!("{key}={}&", value.replace('+', "%20")));
            }
        }
        let config = |place: &str, parameters: &str| {
            let url = format!("postgres://{login}{place}?{parameters}");
            Config::from_str(url.trim_end_matches('&')).map_err(|error| {
                invalid(format!(
                    "the URL of a Postgres store: {}; write {FORM}, with %XX for special characters",
                    describe(&error)
                ))
            })
        };
        let servers = servers(&config(place, &of_servers)?)?;
        let database = place.find('/').map_or("", |at| &place[at..]);
        let mut config = config(database, &passed_on)?;
        if config.get_application_name().is_none() {
            config.application_name("mneme");
        }
        let nearest = match nearest.as_deref() {
            None | Some("off") => None,
            Some("vector") => Some(Element::Single),
            Some("halfvec") => Some(Element::Half),
            Some(_) => {
                return Err(invalid(
                    "the parameter nearest of a Postgres store is vector, halfvec or off"
                        .to_owned(),
                ));
            }
        };
        let pooler = match pooler.as_deref() {
            None | Some("auto") => Pooler::Auto,
            Some("session") => Pooler::Session,
            Some("transaction") => Pooler::Transaction,
            Some(_) => {
                return Err(invalid(
                    "the parameter pooler of a Postgres store is auto, session or transaction"
                        .to_owned(),
                ));
            }
        };
        let tls = tls(sslmode.as_deref(), &servers)?;
        config.ssl_mode(match tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Verify => SslMode::Require,
        });
        Ok(Self {
            config,
            servers,
            nearest,
            pooler,
            tls,
            roots: roots.filter(|path| path != "system").map(PathBuf::from),
            schema: schema.unwrap_or_else(|| "mneme".to_owned()),
            connect_timeout,
            call_timeout,
        })
    }

    /// The same, with no timeout longer than this.
    pub fn within(mut self, patience: Duration) -> Self {
        self.connect_timeout = self.connect_timeout.min(patience);
        self.call_timeout = self.call_timeout.min(patience);
        self
    }

    /// The place in the words of messages: hosts, database and schema.
    pub fn place(&self) -> String {
        let places: Vec<String> = self.servers.iter().map(Server::name).collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("{}/{database}, schema {}", places.join(","), self.schema)
    }

    /// Refuses a name that no schema can have.
    pub fn check_schema(&self) -> Result<()> {
        let name = &self.schema;
        let wrong = match name {
            _ if name.is_empty() => "is empty",
            _ if name.contains('\0') => "has a character U+0000",
            // Postgres cuts the rest off, so that two names could mean one schema.
            _ if name.len() > 63 => "is longer than 63 bytes",
            _ => return Ok(()),
        };
        Err(invalid(format!(
            "the name of the Postgres schema {wrong}; give another one"
        )))
    }
}

/// The servers that a URL names.
fn servers(config: &Config) -> Result<Vec<Server>> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(invalid(format!(
            "the URL of a Postgres store names no host; write {FORM}"
        )));
    }
    let fits = |length: usize| length == 0 || length == count;
    if !fits(hosts.len()) || !fits(addresses.len()) || !(ports.len() == 1 || fits(ports.len())) {
        return Err(invalid(format!(
            "the URL of a Postgres store names {} hosts, {} addresses (hostaddr) and {} ports; give as many of each, or one port for all",
            hosts.len(),
            addresses.len(),
            ports.len()
        )));
    }
    let server = |n: usize| Server {
        host: hosts.get(n).cloned(),
        address: addresses.get(n).copied(),
        port: *ports.get(n).or_else(|| ports.first()).unwrap_or(&5432),
    };
    Ok((0..count).map(server).collect())
}

/// `sslmode`. By default what stays on the machine needs no certificate, and what leaves it
/// needs one.
fn tls(mode: Option<&str>, servers: &[Server]) -> Result<Tls> {
    match mode {
        Some("disable") => Ok(Tls::Disable),
        // There is no TLS on a socket in the file system.
        _ if servers.iter().all(Server::is_socket) => Ok(Tls::Disable),
        Some("prefer") => Ok(Tls::Prefer),
        Some("require" | "verify-full") => Ok(Tls::Verify),
        Some(_) => Err(invalid(
            "the parameter sslmode of a Postgres store is disable, prefer, require or verify-full"
                .to_owned(),
        )),
        None if servers.iter().all(Server::is_local) => Ok(Tls::Prefer),
        None => Ok(Tls::Verify),
    }
}

fn invalid(message: String) -> StoreError {
    StoreError::InvalidArgument(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Options {
        Options::parse(url).unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    fn message(url: &str) -> String {
        match Options::parse(url) {
            Err(StoreError::InvalidArgument(message)) => message,
            Err(other) => panic!("{url}: {other:?}"),
            Ok(_) => panic!("{url} was accepted"),
        }
    }

    #[test]
    fn a_url_has_defaults() {
        let options = parse("postgres://ann:secret@db.example/app");
        assert_eq!(options.config.get_user(), Some("ann"));
        assert_eq!(options.config.get_password(), Some(&b"secret"[..]));
        assert_eq!(options.config.get_application_name(), Some("mneme"));
        assert_eq!(options.place(), "db.example:5432/app, schema mneme");
        assert_eq!(options.tls, Tls::Verify);
        assert_eq!(options.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.call_timeout, Duration::from_secs(10));
        assert_eq!(options.roots, None);
    }

    #[test]
    fn parameters_are_read_and_passed_on() {
        let options = parse(
            "postgresql://h:1/d?schema=a%20%22b%22+c&connect_timeout_ms=7&call_timeout_ms=9\
             &application_name=x%20%26y%3D%C3%BC&user=u%2B@&sslmode=require&sslrootcert=/ca.pem&options=-c%20a%3Db",
        );
        assert_eq!(options.schema, "a \"b\"+c");
        assert_eq!(options.connect_timeout, Duration::from_millis(7));
        assert_eq!(options.call_timeout, Duration::from_millis(9));
        assert_eq!(options.config.get_application_name(), Some("x &y=ü"));
        assert_eq!(options.config.get_options(), Some("-c a=b"));
        assert_eq!(options.roots, Some(PathBuf::from("/ca.pem")));
        assert_eq!(parse("postgres://h/d?sslrootcert=system").roots, None);
        let several = parse("postgres://u@a:1,b:2/d?target_session_attrs=read-write");
        assert_eq!(several.place(), "a:1,b:2/d, schema mneme");
        assert_eq!(several.pooler, Pooler::Auto);
        let forced = parse("postgres://h/d?pooler=transaction");
        assert_eq!(forced.pooler, Pooler::Transaction);
    }

    #[test]
    fn servers_are_named_in_every_way() {
        for (url, place) in [
            ("postgres://u@a:1,b/d", "a:1,b:5432/d"),
            ("postgres:///d?host=a,b&port=7", "a:7,b:7/d"),
            ("postgres:///d?host=a,b&port=7,8", "a:7,b:8/d"),
            ("postgres://u:p@%2Frun%2Fpg:7/d", "/run/pg:7/d"),
            ("postgres:///d?host=%2Frun%2Fpg&port=7", "/run/pg:7/d"),
            ("postgres://u@/d?host=/run/pg,b", "/run/pg:5432,b:5432/d"),
            ("postgres://?host=/run/pg", "/run/pg:5432/"),
            ("postgres:///d?hostaddr=::1", "::1:5432/d"),
        ] {
            let options = parse(url);
            assert_eq!(options.place(), format!("{place}, schema mneme"), "{url}");
            assert!(options.config.get_hosts().is_empty(), "{url}");
            assert!(options.config.get_ports().is_empty(), "{url}");
        }
    }

    #[test]
    fn what_leaves_the_machine_is_checked_unless_said_otherwise() {
        for (url, tls) in [
            ("postgres://localhost/d", Tls::Prefer),
            ("postgres://127.1.2.3/d", Tls::Prefer),
            ("postgres://[::1]:5/d", Tls::Prefer),
            ("postgres://%2Frun%2Fpostgresql/d", Tls::Disable),
            (
                "postgres:///d?host=/run/postgresql&sslmode=require",
                Tls::Disable,
            ),
            ("postgres://10.0.0.1/d", Tls::Verify),
            ("postgres:///d?host=/run/pg,localhost", Tls::Prefer),
            ("postgres:///d?host=/run/pg,db.example", Tls::Verify),
            ("postgres://localhost,db.example/d", Tls::Verify),
            ("postgres://localhost/d?hostaddr=10.0.0.1", Tls::Verify),
            ("postgres://db.example/d?hostaddr=127.0.0.1", Tls::Prefer),
            ("postgres://db.example/d?sslmode=disable", Tls::Disable),
            ("postgres://db.example/d?sslmode=prefer", Tls::Prefer),
            ("postgres://localhost/d?sslmode=verify-full", Tls::Verify),
        ] {
            assert_eq!(parse(url).tls, tls, "{url}");
        }
    }

    #[test]
    fn wrong_urls_are_refused_without_showing_them() {
        for (url, expected) in [
            ("mysql://u:secret@h/d", "begins with postgres://"),
            ("postgres://", "names no host"),
            ("postgres://u:secret@/d", "names no host"),
            ("postgres://u:secret@h:port/d", "port"),
            ("postgres://u:secret@h:99999/d", "port"),
            ("postgres://u:secret@h/d?shcema=x", "the parameter shcema"),
            ("postgres://u:se?cret@h/d?tls=1", "the parameter tls"),
            ("postgres://u:se/secret?x@h/d?secret%40=1", "a parameter"),
            ("postgres://u:1/secret@h/d", "%2F for a /"),
            ("postgres://u:se@secret@h/d", "%40 for an @"),
            ("postgres://h/d?u:secret@h=1", "a parameter"),
            ("postgres://h/d?schema=a&schema=secret", "schema twice"),
            ("postgres://h/d?sslmode=secret", "sslmode"),
            ("postgres://h/d?sslmode=verify-ca", "sslmode"),
            ("postgres://h/d?call_timeout_ms=secret", "call_timeout_ms"),
            ("postgres://h/d?call_timeout_ms=0", "call_timeout_ms"),
            ("postgres://h/d?connect_timeout_ms=-1", "connect_timeout_ms"),
            ("postgres://h/d?keepalives=secret", "keepalives"),
            ("postgres://h/d?pooler=secret", "pooler"),
            (
                "postgres://a,b/d?hostaddr=127.0.0.1",
                "2 hosts, 1 addresses",
            ),
            ("postgres:///d?host=a,b&port=1,2,3", "3 ports"),
        ] {
            let message = message(url);
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains("secret"), "{url}: {message}");
        }
        assert!(message("postgres://h/?a=b").contains("schema, nearest, pooler, sslmode"));
    }

    #[test]
    fn names_that_no_schema_has_are_refused() {
        let check = |name: &str| {
            let mut options = parse("postgres://h/d");
            options.schema = name.to_owned();
            options.check_schema().is_ok()
        };
        assert!(check("a.\"b' ; ü"));
        assert!(check(&"x".repeat(63)));
        assert!(!check(""));
        assert!(!check("a\0"));
        assert!(!check(&"x".repeat(64)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Options::parse(&format!("postgres://{text}"));
        }

        #[test]
        fn any_schema_goes_through_a_url(name in any::<String>()) {
            let name: String = name.replace('\0', "");
            let coded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
            let coded = coded.replace('+', "%20");
            let options = Options::parse(&format!("postgres://h/d?schema={coded}")).unwrap();
            prop_assert_eq!(options.schema, name);
        }
    }
}
