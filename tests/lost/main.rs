//! `mneme serve` on a Redis that loses its data: two servers go on with an empty cache by
//! themselves, and leave another cache in its place alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::{Value, json};

/// How long what must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome<T = ()> = Result<T, Failed>;

fn main() -> ExitCode {
    let trials = vec![
        Trial::ignorable_test("an_emptied_redis_is_filled_again", || with_redis(emptied)),
        Trial::ignorable_test("another_cache_in_its_place_is_left_alone", || {
            with_redis(replaced)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Redis {
    port: u16,
    _running: Running,
    _folder: tempfile::TempDir,
}

fn with_redis(test: fn(&Redis) -> Outcome) -> Result<Completion, Failed> {
    let missing = match Command::new("redis-server").arg("--version").output() {
        Err(error) => Some(format!("no server: redis-server: {error}")),
        Ok(_) if cfg!(not(feature = "servers")) => {
            Some("the command was built without the feature servers".to_owned())
        }
        Ok(_) => None,
    };
    if let Some(missing) = missing {
        return match std::env::var("MNEME_REQUIRE_ALL").is_ok_and(|all| all == "1") {
            true => Err(missing.into()),
            false => Ok(Completion::ignored_with(missing)),
        };
    }
    test(&Redis::start()?)?;
    Ok(Completion::Completed)
}

impl Redis {
    fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = port.local_addr()?.port();
        let child = Command::new("redis-server")
            .current_dir(folder.path())
            .args(["--bind", "127.0.0.1", "--save", ""])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let redis = Self {
            port,
            _running: Running(child),
            _folder: folder,
        };
        until("Redis answers", || redis.say("PING").is_ok())?;
        Ok(redis)
    }

    /// Says something that Redis answers in one line.
    fn say(&self, command: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        match line.starts_with('-') {
            true => Err(line.into()),
            false => Ok(line),
        }
    }

    fn serve(&self, embedder: &str) -> Outcome<Server> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .env("MNEME_STORE", format!("redis://127.0.0.1:{}", self.port))
            .env("MNEME_EMBEDDER", embedder)
            .env_remove("MNEME_TOKEN")
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let running = Running(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line)?;
        let url = told["listening"].as_str().ok_or("no address")?.to_owned();
        Ok(Server { url, running })
    }
}

struct Server {
    url: String,
    running: Running,
}

impl Server {
    fn ask(&self, path: &str, body: Option<Value>) -> Outcome<(u16, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let url = format!("{}{path}", self.url);
        let mut response = match body {
            Some(body) => agent
                .post(url)
                .header("content-type", "application/json")
                .send(body.to_string())?,
            None => agent.get(url).call()?,
        };
        let text = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), serde_json::from_str(&text)?))
    }

    fn put(&self, query: &str) -> Outcome<u16> {
        let vector = [1.0, 0.0, 0.0];
        let body = json!({"query": query, "response": "r", "embedding": vector});
        Ok(self.ask("/v1/put", Some(body))?.0)
    }

    /// Ends it, and gives what it wrote to standard error.
    fn ended(mut self) -> Outcome<String> {
        self.running.0.kill()?;
        let mut text = String::new();
        let stderr = self.running.0.stderr.take();
        stderr.ok_or("no output")?.read_to_string(&mut text)?;
        Ok(text)
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("not in time: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn check(is_so: bool, what: impl std::fmt::Display) -> Outcome {
    match is_so {
        true => Ok(()),
        false => Err(what.to_string().into()),
    }
}

const EMBEDDER: &str = "vectors:test-model,3";

fn emptied(redis: &Redis) -> Outcome {
    let (one, two) = (redis.serve(EMBEDDER)?, redis.serve(EMBEDDER)?);
    check(one.put("before")? == 200, "a put")?;
    redis.say("FLUSHALL")?;
    let lost = one.put("lost")?;
    check(lost == 500, lost)?;
    for server in [&one, &two] {
        until("it stores again", || {
            server.put("after").is_ok_and(|status| status == 200)
        })?;
        until("it is ready", || {
            server
                .ask("/readyz", None)
                .is_ok_and(|(status, _)| status == 200)
        })?;
    }
    let (_, stats) = two.ask("/v1/stats", None)?;
    check(stats["entries"] == 1, &stats)?;
    let told = one.ended()?;
    check(told.contains("goes on with what is there now"), &told)
}

fn replaced(redis: &Redis) -> Outcome {
    let server = redis.serve(EMBEDDER)?;
    check(server.put("before")? == 200, "a put")?;
    redis.say("FLUSHALL")?;
    // Whoever is first; a server of another embedder keeps this one from going on.
    let other = redis.serve("vectors:another,3");
    if other.is_err() {
        return Err("another server does not start".into());
    }
    until("it is not ready", || {
        server
            .ask("/readyz", None)
            .is_ok_and(|(status, _)| status == 503)
    })?;
    let (_, told) = server.ask("/readyz", None)?;
    let problem = told["problem"].as_str().unwrap_or_default();
    check(!problem.is_empty(), &told)?;
    check(server.put("mine")? != 200, "a put into another cache")?;
    let (_, stats) = other?.ask("/v1/stats", None)?;
    check(stats["entries"] == 0, &stats)
}
