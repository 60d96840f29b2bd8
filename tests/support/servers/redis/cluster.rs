//! A Redis Cluster.

use super::Redis;
use crate::servers::{PATIENCE, free_port};
use crate::suite::Provided;
use mneme::RedisStore;
use std::process::Command;
use std::time::{Duration, Instant};

/// Three masters with a replica each. A node that is down is replaced after a second.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Redis>,
}

impl Provided for Cluster {
    fn provide(_: &str) -> Result<Self, String> {
        Self::start()
    }
}

impl Cluster {
    /// Starts six servers and makes a cluster of them.
    ///
    /// # Errors
    ///
    /// Where `redis-server` or `redis-cli` is not installed, or there is no cluster in time.
    pub fn start() -> Result<Self, String> {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let bus = free_port().map_err(|error| error.to_string())?;
            nodes.push(Redis::with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus.to_string(),
                "--cluster-node-timeout",
                "1000",
                "--cluster-replica-validity-factor",
                "0",
            ])?);
        }
        let cluster = Self { nodes };
        cluster.create()?;
        Ok(cluster)
    }

    fn create(&self) -> Result<(), String> {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(self.nodes.iter().map(|node| address(node.port())));
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = command
            .output()
            .map_err(|error| format!("no cluster: redis-cli: {error}"))?;
        let start = Instant::now();
        while !self.nodes.iter().all(is_ready) {
            if start.elapsed() > PATIENCE {
                return Err(format!("no cluster: {output:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The URL of a store that is told these nodes.
    pub fn url(&self, nodes: &[usize]) -> String {
        let nodes = nodes.iter().map(|&node| address(self.nodes[node].port()));
        format!("redis+cluster://{}", nodes.collect::<Vec<_>>().join(","))
    }

    /// A closed store that is told these nodes.
    ///
    /// # Panics
    ///
    /// Where the store refuses the URL.
    pub fn store(&self, nodes: &[usize], prefix: &str) -> RedisStore {
        RedisStore::from_url(&self.url(nodes))
            .unwrap()
            .prefix(prefix)
    }

    /// The running master that has the slot of a key.
    ///
    /// # Panics
    ///
    /// Where none has it.
    pub fn owner(&self, key: &str) -> usize {
        let owners = self.nodes.iter().enumerate().find(|(_, node)| {
            node.is_running() && node.client().attempt::<u64>(&["EXISTS", key]).is_ok()
        });
        owners.expect("the cluster has every slot").0
    }

    /// The replica of a master.
    ///
    /// # Panics
    ///
    /// Where it has none.
    pub fn replica_of(&self, master: usize) -> usize {
        let line = format!("master_port:{}", self.nodes[master].port());
        let mut nodes = self.nodes.iter();
        nodes
            .position(|node| node.is_running() && replication(node).contains(&line))
            .expect("every master has a replica")
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn replication(node: &Redis) -> String {
    node.client().run(&["INFO", "replication"])
}

/// Whether a node takes commands, and has what its master has where it is a replica.
fn is_ready(node: &Redis) -> bool {
    let info: String = node.client().run(&["CLUSTER", "INFO"]);
    let replication = replication(node);
    let follows = replication.contains("master_link_status:up");
    let leads = replication.contains("connected_slaves:1");
    info.contains("cluster_state:ok")
        && info.contains("cluster_known_nodes:6")
        && (follows || leads)
}
