//! How a table is reached, and the URLs that say so.

use std::time::Duration;

use url::Url;

use mneme_store::parameters::Parameters;
use mneme_store::{Result, StoreError};

/// What a URL may say.
const PARAMETERS: [&str; 5] = [
    "region",
    "endpoint",
    "create",
    "connect_timeout_ms",
    "call_timeout_ms",
];

/// How to reach a table.
#[derive(Clone)]
pub(super) struct Options {
    pub table: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub create: bool,
    pub connect_timeout: Duration,
    pub call_timeout: Duration,
}

impl Options {
    pub fn new(table: String) -> Self {
        Self {
            table,
            region: None,
            endpoint: None,
            create: false,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
        }
    }

    /// Reads `dynamodb://TABLE?...`. Errors do not repeat what may be a secret.
    pub fn from_url(url: &str) -> Result<Self> {
        let wrong = |what: &str| invalid(format!("the URL of a DynamoDB table {what}"));
        let parsed = Url::parse(url).map_err(|error| wrong(&format!("is malformed: {error}")))?;
        if parsed.scheme() != "dynamodb" {
            return Err(wrong("begins with dynamodb://"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong(
                "holds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
            ));
        }
        let Some(table) = parsed.host_str().filter(|table| !table.is_empty()) else {
            return Err(wrong(
                "names the table, as in dynamodb://TABLE?region=eu-north-1",
            ));
        };
        let rest = matches!(parsed.path(), "" | "/");
        if !rest || parsed.port().is_some() || parsed.fragment().is_some() {
            return Err(wrong(
                "takes only the table's name before the question mark; for your own server add ?endpoint=http://HOST:PORT",
            ));
        }
        let mut options = Self::new(table.to_owned());
        let mut given =
            Parameters::read("a DynamoDB table", parsed.query_pairs(), &PARAMETERS, true)?;
        options.region = given.take("region");
        options.endpoint = given.take("endpoint");
        options.create = match given.take("create").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(wrong("takes create=true or create=false")),
        };
        options.connect_timeout =
            given.milliseconds("connect_timeout_ms", options.connect_timeout)?;
        options.call_timeout = given.milliseconds("call_timeout_ms", options.call_timeout)?;
        options.check()?;
        Ok(options)
    }

    /// The same, with no timeout longer than this.
    pub fn within(mut self, patience: Duration) -> Self {
        self.connect_timeout = self.connect_timeout.min(patience);
        self.call_timeout = self.call_timeout.min(patience);
        self
    }

    /// Refuses what no table or server can be reached by.
    pub fn check(&self) -> Result<()> {
        let named = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !(1..=255).contains(&self.table.len()) || !self.table.chars().all(named) {
            return Err(invalid(format!(
                "{:?} is not a DynamoDB table name, which has 3 to 255 letters, digits, and _ - .",
                self.table
            )));
        }
        let hostlike = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if let Some(region) = &self.region
            && (region.is_empty() || !region.chars().all(hostlike))
        {
            return Err(invalid(format!(
                "region {region:?} is not an AWS region; write one such as eu-north-1"
            )));
        }
        if let Some(endpoint) = &self.endpoint {
            let usable = Url::parse(endpoint).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none()
            });
            if !usable {
                return Err(invalid(
                    "the endpoint is not a server address; write http://HOST:PORT or https://HOST, without credentials",
                ));
            }
        }
        if self.connect_timeout.is_zero() || self.call_timeout.is_zero() {
            return Err(invalid("a timeout is zero; give at least a millisecond"));
        }
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::InvalidArgument(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Options::from_url(url) {
            Err(StoreError::InvalidArgument(message)) => message,
            _ => panic!("{url}"),
        }
    }

    #[test]
    fn a_url_says_everything() {
        let options = Options::from_url(
            "dynamodb://My_table.1-x?region=eu-north-1&endpoint=http://127.0.0.1:5000&create=true&connect_timeout_ms=7&call_timeout_ms=1500",
        )
        .unwrap();
        assert_eq!(options.table, "My_table.1-x");
        assert_eq!(options.region.as_deref(), Some("eu-north-1"));
        assert_eq!(options.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
        assert!(options.create);
        assert_eq!(options.connect_timeout, Duration::from_millis(7));
        assert_eq!(options.call_timeout, Duration::from_millis(1500));
        let plain = Options::from_url("dynamodb://cache").unwrap();
        assert!(!plain.create && plain.region.is_none() && plain.endpoint.is_none());
    }

    #[test]
    fn bad_urls_are_refused_without_their_secrets() {
        for (url, said) in [
            ("dynamodb:cache", "names the table"),
            ("dynamodb://", "names the table"),
            ("dynamodb://?create=true", "names the table"),
            ("dynamodb://a b", "malformed"),
            ("redis://cache", "begins with dynamodb://"),
            ("dynamodb://key:secret@cache", "holds no credentials"),
            ("dynamodb://cache:5000", "?endpoint=http://HOST:PORT"),
            ("dynamodb://cache/secret", "before the question mark"),
            ("dynamodb://cache#secret", "before the question mark"),
            ("dynamodb://ca%20che", "not a DynamoDB table name"),
            (
                "dynamodb://cache?tabel=secret",
                "known are region, endpoint, create",
            ),
            ("dynamodb://cache?create=yes", "create=true"),
            ("dynamodb://cache?create=true&create=true", "create twice"),
            ("dynamodb://cache?region=", "not an AWS region"),
            (
                "dynamodb://cache?region=a.evil.example/",
                "not an AWS region",
            ),
            ("dynamodb://cache?endpoint=localhost:1", "http://HOST:PORT"),
            (
                "dynamodb://cache?endpoint=http://u:secret@h:1",
                "without credentials",
            ),
            ("dynamodb://cache?call_timeout_ms=0", "from 1 to"),
            ("dynamodb://cache?connect_timeout_ms=-1", "from 1 to"),
        ] {
            let message = refusal(url);
            assert!(message.contains(said), "{url}: {message}");
            assert!(!message.contains("secret"), "{url}: {message}");
        }
    }
}
