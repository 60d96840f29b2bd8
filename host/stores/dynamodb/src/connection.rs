//! Reaching a table: the HTTP client, region, credentials.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::config::ProvideCredentials;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::{Client, config};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::clock::ServerClock;
use super::error::{self, Fault, Outcome};
use super::options::Options;
use super::requests::Table;
use super::waiting::{FIRST_WAIT, SENDINGS};

/// Finds region and credentials. Connections are made when they are needed.
pub(super) async fn connect(options: &Options) -> Outcome<Table> {
    options.check()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        // What got lost is noticed while there is time for another attempt.
        .operation_attempt_timeout(options.call_timeout.div_f64(2.0))
        .operation_timeout(options.call_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts);
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(Fault::system(
            "no region is known; add ?region=, or set AWS_REGION or a profile",
        ));
    }
    let credentials = match shared.credentials_provider() {
        Some(provider) => {
            // It may run a program, or ask a server.
            match tokio::time::timeout(options.call_timeout, provider.provide_credentials()).await {
                Ok(Ok(credentials)) => Ok(credentials),
                Ok(Err(error)) => Err(format!(
                    "no credentials were found: {}",
                    error::chain(&error)
                )),
                Err(_) => Err(format!(
                    "no credentials came within {} ms",
                    options.call_timeout.as_millis()
                )),
            }
        }
        None => Err("no credentials were found".to_owned()),
    };
    if let Err(message) = credentials {
        return Err(Fault::system(format!(
            "{message}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile by AWS_PROFILE, or give the machine a role"
        )));
    }
    // A store makes one call at a time: attempts and time limit its repetitions, and the
    // failures of others need not.
    let own = RetryPartition::custom("mneme")
        .token_bucket(TokenBucket::unlimited())
        .build();
    let clock = ServerClock::default();
    let mut builder = config::Builder::from(&shared)
        .retry_partition(own)
        .interceptor(clock.clone());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let retries = RetryConfig::standard()
        .with_max_attempts(SENDINGS)
        .with_initial_backoff(FIRST_WAIT)
        .with_max_backoff(Duration::from_secs(1));
    let repeating = builder.clone().retry_config(retries).build();
    let once = builder.retry_config(RetryConfig::disabled()).build();
    Ok(Table {
        name: options.table.as_str().into(),
        client: Client::from_conf(repeating),
        once: Client::from_conf(once),
        clock,
        patience: options.call_timeout,
        incarnation: None,
    })
}
