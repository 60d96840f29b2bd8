//! One connection, which works while somebody waits for it.
//!
//! What is sent together goes out together, because whoever waits drives the connection
//! only after the work has nothing more to send.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error as ClientError, Row, SimpleQueryMessage, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Fault, Outcome, describe};
use super::hosts;
use super::layout::{OwnColumn, supplied};
use super::options::Options;
use super::pooler::{Pooler, told_process};
use super::values::{Value, Values};
use mneme_store::background::run;
use mneme_store::checks;

/// What moves the bytes of a connection.
pub(super) type Driver =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A statement on its way.
pub(super) type Step<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, ClientError>> + 'a>>;

pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// How long to wait for a lock before the transaction starts again. Less than the
/// second after which Postgres looks for deadlocks, so that of two writers that wait for
/// each other, this one gives way: other programs may not start again.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Lets a transaction that holds up nobody stand still for as long as it likes. Not every
/// release has both settings.
pub(super) const PATIENT: &str = "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings
    WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')";

/// The table of entries where it lacks nothing.
const ENTRIES: &str = "{schema}.entries";

/// How long closing waits for the server.
const FAREWELL: Duration = Duration::from_secs(1);

/// A statement that can be run.
#[derive(Clone)]
pub(super) enum Prepared {
    /// The server knows it, in this session.
    Known(Statement),
    /// It is sent each time.
    Sent(Arc<str>),
}

/// A connection to the server.
///
/// Through a pooler that gives each transaction another session, nothing is left in a session: statements
/// are not prepared, and each transaction begins with the settings.
pub(super) struct Connection {
    client: Client,
    /// None once the connection has ended.
    driver: RefCell<Option<Driver>>,
    /// What ended it.
    cause: RefCell<Option<String>>,
    statements: RefCell<HashMap<&'static str, Prepared>>,
    /// Where sessions are not kept, what each transaction sets.
    settings: Option<String>,
    /// Whether a transaction was begun, and not ended.
    in_transaction: Cell<bool>,
    /// Quoted.
    schema: String,
    /// SQL for whether the cache is still the one that was opened.
    ours: RefCell<String>,
    /// SQL for the table of entries, with the columns that it lacks.
    entries: RefCell<String>,
    /// Set once a loss would leave it unknown whether a write has happened.
    pub at_risk: Cell<bool>,
    /// How many changes were appended to the log since it was trimmed; 0 only before the first write.
    pub appended: Cell<usize>,
}

impl Connection {
    /// Connects and prepares the session.
    pub fn open(options: &Options, tls: &MakeRustlsConnect) -> Outcome<Self> {
        let (client, driver) = hosts::connect(options, tls)?;
        let encoding = driver.parameter("server_encoding").unwrap_or("unknown");
        if encoding != "UTF8" {
            return Err(Fault::System(format!(
                "the database's encoding is {encoding}, and a cache holds any Unicode text; give a database that was created with ENCODING 'UTF8'"
            )));
        }
        let mut conn = Self {
            client,
            driver: RefCell::new(Some(driver)),
            cause: RefCell::new(None),
            statements: RefCell::default(),
            settings: None,
            in_transaction: Cell::new(false),
            schema: quoted(&options.schema),
            ours: RefCell::new("TRUE".to_owned()),
            entries: RefCell::new(ENTRIES.to_owned()),
            at_risk: Cell::new(false),
            appended: Cell::new(0),
        };
        let (pooler, limit) = (options.pooler, options.call_timeout);
        if !conn.wait(conn.set_up(pooler, limit), options.connect_timeout)? {
            conn.settings = Some(settings(limit, limit));
        }
        Ok(conn)
    }

    /// Gives the session its settings; false where it may not be ours for longer than a transaction.
    async fn set_up(&self, pooler: Pooler, limit: Duration) -> Outcome<bool> {
        let condition = match pooler {
            Pooler::Transaction => return Ok(false),
            Pooler::Session => String::new(),
            Pooler::Auto => {
                let process = told_process(&self.client).await?;
                format!(" WHERE pg_catalog.pg_backend_pid() = {process}")
            }
        };
        let set = limits(limit, limit)
            .map(|(name, value)| format!("pg_catalog.set_config('{name}', '{value}', false)"));
        let sql = format!("SELECT {}{condition}", set.join(", "));
        let replies = self.client.simple_query(&sql).await?;
        let mut replies = replies.iter();
        Ok(replies.any(|reply| matches!(reply, SimpleQueryMessage::Row(_))))
    }

    /// Drives the connection until `work` is done, at most as long as `limit`. Where it was
    /// not, replies may still be under way, and the connection is not to be used again.
    pub fn wait<T>(&self, work: impl Future<Output = Outcome<T>>, limit: Duration) -> Outcome<T> {
        let mut work = pin!(work);
        let driven = poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                self.drive(context);
            }
            done
        });
        run(driven, limit).unwrap_or_else(|unfinished| Err(Fault::Unfinished(unfinished, limit)))
    }

    /// Writes and reads what can be without waiting.
    fn drive(&self, context: &mut Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        while let Some(connection) = driver.as_mut() {
            match connection.poll_message(context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(end) => {
                    if let Some(Err(error)) = end {
                        *self.cause.borrow_mut() = Some(describe(&error));
                    }
                    // Whoever waits for a reply is told by this.
                    *driver = None;
                }
            }
        }
    }

    /// Whether the connection still stands, as far as the network has told.
    pub fn is_open(&self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.borrow().is_some()
    }

    /// What ended the connection, if something did.
    pub fn cause(&self) -> Option<String> {
        self.cause.borrow().clone()
    }

    /// Says goodbye to the server.
    pub fn close(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        if let Some(driver) = driver.into_inner() {
            // It is gone in any case.
            let _ = run(driver, FAREWELL);
        }
    }

    /// From here on `{ours}` in statements holds for the cache of this incarnation only, or
    /// without an incarnation for any cache.
    pub fn expect(&self, incarnation: Option<i64>) {
        *self.ours.borrow_mut() = match incarnation {
            None => "TRUE".to_owned(),
            Some(number) => format!(
                "EXISTS (SELECT FROM {{schema}}.cache_counters AS o, {{schema}}.schema_meta AS m
                    WHERE o.namespace = '' AND o.name = 'incarnation' AND o.value = {number}
                    AND m.key = 'embedder_fingerprint')"
            ),
        };
    }

    /// From here on `{entries}` in statements has these columns too, which the table lacks.
    pub fn supply(&self, lacking: &[&OwnColumn]) {
        if !lacking.is_empty() {
            *self.entries.borrow_mut() = supplied(lacking);
        }
    }

    /// Whether the table lacks columns.
    pub fn lacks_columns(&self) -> bool {
        *self.entries.borrow() != ENTRIES
    }

    /// A statement with the schema's name in its places.
    pub fn text(&self, sql: &str) -> String {
        sql.replace("{entries}", &self.entries.borrow())
            .replace("{ours}", &self.ours.borrow())
            .replace("{schema}", &self.schema)
    }

    /// Fails where the cache is not the one that was opened.
    pub async fn check_ours(&self) -> Outcome<()> {
        let rows = self.query("SELECT {ours}", &[]).await?;
        match rows.first().map(|row| row.try_get(0)) {
            Some(Ok(true)) => Ok(()),
            _ => Err(Fault::Corrupt(checks::vanished())),
        }
    }

    /// The statement, prepared on first use.
    pub async fn statement(&self, sql: &'static str) -> Outcome<Prepared> {
        let present = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = present {
            return Ok(statement);
        }
        let text = self.text(sql);
        let statement = match self.settings {
            None => Prepared::Known(self.client.prepare(&text).await?),
            Some(_) => Prepared::Sent(text.into()),
        };
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a statement, in a separate transaction if none was begun.
    pub async fn query(&self, sql: &'static str, values: Values<'_>) -> Outcome<Vec<Row>> {
        let statement = self.statement(sql).await?;
        let replies = self.together(vec![self.step(&statement, values)]).await?;
        Ok(replies.into_iter().next().unwrap_or_default())
    }

    /// Runs statements in one round trip, each in a separate transaction if none was begun and the
    /// session is ours.
    pub async fn together<'a>(&'a self, mut steps: Vec<Step<'a>>) -> Outcome<Vec<Vec<Row>>> {
        if self.settings.is_none() || self.in_transaction.get() {
            return pipeline(steps).await;
        }
        steps.insert(0, self.begin_step(BEGIN));
        steps.push(self.end_step(COMMIT));
        let outcome = pipeline(steps).await;
        if outcome.as_ref().is_err_and(|fault| !fault.is_lost()) {
            // The end may not have been sent.
            self.plain(ROLLBACK).await?;
        }
        let mut replies = outcome?;
        replies.pop();
        replies.remove(0);
        Ok(replies)
    }

    /// Runs statements without parameters.
    pub async fn plain(&self, sql: &str) -> Outcome<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Begins a transaction.
    pub async fn begin(&self, begin: &'static str) -> Outcome<()> {
        self.begin_step(begin).await?;
        Ok(())
    }

    /// Ends a transaction, if one was begun.
    pub async fn end(&self, end: &'static str) -> Outcome<()> {
        self.end_step(end).await?;
        Ok(())
    }

    /// A statement as a part of a pipeline.
    pub fn step<'a>(&'a self, statement: &'a Prepared, values: Values<'a>) -> Step<'a> {
        Box::pin(async move {
            match statement {
                Prepared::Known(statement) => {
                    let values: Vec<_> = values.iter().map(|value| as_sql(*value)).collect();
                    self.client.query(statement, &values).await
                }
                Prepared::Sent(sql) => {
                    let typed = |value: &&'a dyn Value| (as_sql(*value), value.kind());
                    let values: Vec<(_, Type)> = values.iter().map(typed).collect();
                    self.client.query_typed(sql, &values).await
                }
            }
        })
    }

    /// The begin of a transaction as a part of a pipeline.
    pub fn begin_step<'a>(&'a self, begin: &'static str) -> Step<'a> {
        self.in_transaction.set(true);
        match &self.settings {
            None => self.plain_step(begin.into()),
            Some(settings) => self.plain_step(format!("{begin}; {settings}").into()),
        }
    }

    /// The end of a transaction as a part of a pipeline.
    pub fn end_step<'a>(&'a self, end: &'static str) -> Step<'a> {
        self.in_transaction.set(false);
        self.plain_step(end.into())
    }

    /// A statement without parameters as a part of a pipeline.
    fn plain_step<'a>(&'a self, sql: Cow<'static, str>) -> Step<'a> {
        Box::pin(async move {
            self.client.batch_execute(&sql).await?;
            Ok(Vec::new())
        })
    }
}

fn as_sql(value: &dyn Value) -> &(dyn ToSql + Sync) {
    value
}

/// Sends all steps in order, then waits for all of them: one round trip. The error is that
/// of the first which failed. A step that cannot be sent keeps the later ones from being
/// sent.
pub(super) async fn pipeline(mut steps: Vec<Step<'_>>) -> Outcome<Vec<Vec<Row>>> {
    let mut results: Vec<Option<Result<Vec<Row>, ClientError>>> =
        steps.iter().map(|_| None).collect();
    let mut sending = true;
    poll_fn(|context| {
        for (step, result) in steps.iter_mut().zip(&mut results) {
            if result.is_some() {
                continue;
            }
            if let Poll::Ready(done) = step.as_mut().poll(context) {
                let cannot_be_sent = sending && done.is_err();
                *result = Some(done);
                if cannot_be_sent {
                    return Poll::Ready(());
                }
            }
        }
        sending = false;
        match results.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    // What comes after a failure is no success either.
    let results: Result<Vec<_>, _> = results.into_iter().flatten().collect();
    Ok(results?)
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Settings in milliseconds. The server gives up a little earlier than the client, so that its word is
/// heard, and ends a transaction whose client stands still with the lock in its hands.
fn limits(limit: Duration, idle: Duration) -> [(&'static str, u128); 3] {
    let milliseconds = |time: Duration| time.as_millis().clamp(2, i32::MAX.unsigned_abs().into());
    let (limit, idle) = (milliseconds(limit), milliseconds(idle));
    [
        ("statement_timeout", (limit * 9 / 10).max(1)),
        ("lock_timeout", LOCK_TIMEOUT.as_millis().min(limit / 2)),
        ("idle_in_transaction_session_timeout", idle),
    ]
}

/// SQL for the settings of a transaction.
pub(super) fn settings(limit: Duration, idle: Duration) -> String {
    limits(limit, idle)
        .map(|(name, value)| format!("SET LOCAL {name} = {value}"))
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("mneme"), r#""mneme""#);
        assert_eq!(quoted(r#"a"; DROP "#), r#""a""; DROP ""#);
    }

    #[test]
    fn the_server_gives_up_before_the_client() {
        assert_eq!(
            settings(Duration::from_secs(10), Duration::from_secs(5)),
            "SET LOCAL statement_timeout = 9000; SET LOCAL lock_timeout = 500; SET LOCAL idle_in_transaction_session_timeout = 5000"
        );
        // None of them is 0, which would mean no limit.
        assert_eq!(
            settings(Duration::ZERO, Duration::ZERO),
            "SET LOCAL statement_timeout = 1; SET LOCAL lock_timeout = 1; SET LOCAL idle_in_transaction_session_timeout = 2"
        );
        assert!(
            settings(Duration::MAX, Duration::MAX)
                .contains("idle_in_transaction_session_timeout = 2147483647")
        );
    }
}
