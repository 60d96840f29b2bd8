//! Connecting to the first of several servers that takes the connection.
//!
//! The time for connecting is shared: each address may take as much of what is left as those after it, so
//! that one which is silent leaves time for the others.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Driver;
use super::error::{Fault, Outcome};
use super::options::Options;
use mneme_store::background::{Unfinished, run};

/// A server that the URL names.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its name, or the folder of its socket; none where there is only an address.
    pub host: Option<Host>,
    /// Where it is, instead of where its name leads.
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl Server {
    /// As messages name it.
    pub fn name(&self) -> String {
        let host = match (&self.host, self.address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            #[cfg(unix)]
            (Some(Host::Unix(folder)), _) => folder.display().to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        };
        format!("{host}:{}", self.port)
    }

    /// Whether it is reached through the file system, where nothing is encrypted.
    pub fn is_socket(&self) -> bool {
        !matches!(self.host, Some(Host::Tcp(_)) | None)
    }

    /// Whether what is sent to it does not leave the machine.
    pub fn is_local(&self) -> bool {
        match (&self.host, self.address) {
            (_, Some(address)) => address.is_loopback(),
            (Some(Host::Tcp(name)), None) => {
                let address = name.parse();
                name.eq_ignore_ascii_case("localhost")
                    || address.is_ok_and(|address: IpAddr| address.is_loopback())
            }
            _ => true,
        }
    }

    /// The addresses of its name; none where it needs no looking for, or where that fails, which the
    /// client then finds out too.
    async fn addresses(&self) -> Vec<IpAddr> {
        match (&self.host, self.address) {
            (Some(Host::Tcp(name)), None) => match lookup_host((name.as_str(), self.port)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            },
            (_, address) => address.into_iter().collect(),
        }
    }

    /// What leads there, by one of its addresses.
    fn config(&self, base: &Config, address: Option<&IpAddr>) -> Config {
        let mut config = base.clone();
        match &self.host {
            Some(Host::Tcp(name)) => {
                config.host(name);
            }
            #[cfg(unix)]
            Some(Host::Unix(folder)) => {
                config.host_path(folder);
            }
            None => {}
        }
        if let Some(address) = address {
            config.hostaddr(*address);
        }
        if self.is_socket() {
            config.ssl_mode(SslMode::Disable);
        }
        config.port(self.port);
        config
    }
}

/// A server that did not take the connection, and why.
type Refusal = (String, Fault);

/// Connects to the first server that takes it.
pub(super) fn connect(options: &Options, tls: &MakeRustlsConnect) -> Outcome<(Client, Driver)> {
    let limit = options.connect_timeout;
    let mut refusals = match run(attempts(options, tls), Duration::MAX) {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(refusals)) => refusals,
        Err(unfinished) => return Err(Fault::Unfinished(unfinished, limit)),
    };
    match (refusals.pop(), refusals.is_empty()) {
        // It had all of the time, but for what looking for it has taken.
        (Some((_, Fault::Unfinished(why, _))), true) => Err(Fault::Unfinished(why, limit)),
        (Some((_, only)), true) => Err(only),
        (last, _) => {
            refusals.extend(last);
            Err(Fault::Refused(refusals))
        }
    }
}

async fn attempts(
    options: &Options,
    tls: &MakeRustlsConnect,
) -> Result<(Client, Driver), Vec<Refusal>> {
    let deadline = Instant::now().checked_add(options.connect_timeout);
    let share = |among: usize| {
        let left = deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        left / u32::try_from(among).unwrap_or(u32::MAX).max(1)
    };
    let is_random = options.config.get_load_balance_hosts() == LoadBalanceHosts::Random;
    let mut servers = options.servers.clone();
    let mut refusals = Vec::new();
    if is_random {
        shuffle(&mut servers);
    }
    for (n, server) in servers.iter().enumerate() {
        let later = servers.len() - n - 1;
        let limit = share(later + 1);
        let mut found = match timely(limit, server.addresses()).await {
            Ok(found) => found,
            Err(late) => {
                refusals.push((server.name(), late));
                continue;
            }
        };
        if is_random {
            shuffle(&mut found);
        }
        // Without an address there is one attempt, by the name.
        let count = found.len().max(1);
        for m in 0..count {
            let limit = share(count - m + later);
            let config = server.config(&options.config, found.get(m));
            let fault = match timely(limit, config.connect(tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => Fault::Connect(error),
                Err(late) => late,
            };
            let name = match found.get(m) {
                Some(address) if count > 1 => format!("{} ({address})", server.name()),
                _ => server.name(),
            };
            refusals.push((name, fault));
        }
    }
    Err(refusals)
}

async fn timely<T>(limit: Duration, work: impl Future<Output = T>) -> Outcome<T> {
    let done = timeout(limit, work).await;
    done.map_err(|_| Fault::Unfinished(Unfinished::Late, limit))
}

/// In another order each time.
fn shuffle<T>(list: &mut [T]) {
    list.sort_by_cached_key(|_| RandomState::new().build_hasher().finish());
}
