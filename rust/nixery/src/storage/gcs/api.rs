//! The JSON API of Cloud Storage, for what the SDK does over gRPC only, which private
//! endpoints and emulators don't speak.
//!
//! <https://cloud.google.com/storage/docs/json_api/v1>

use std::time::Duration;

use bytes::Bytes;
use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::Extensions;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::clock::Clock;
use super::error::{BucketError, message};
use super::options::BucketOptions;
use super::renewed::Renewed;
use super::resource::{Resource, Version};
use super::retry::{Retries, TRIED};

/// Characters of names that need no escape in a path (RFC 3986, 2.3).
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Objects in one page of a list, the most that the service gives.
const PAGE: usize = 1000;

/// The objects of one bucket.
#[derive(Debug)]
pub(super) struct Api {
    client: reqwest::Client,
    credentials: Credentials,
    /// URL of the bucket.
    bucket: String,
    pub(super) retries: Retries,
    /// How long an answer may take.
    patience: Duration,
    pub(super) clock: Clock,
}

/// What came of a change that was to be made to one version of an object only.
#[derive(Debug)]
pub(super) enum Change<T> {
    Made(T),
    /// There is another version now, or one where there was to be none.
    OtherVersion,
    Absent,
}

impl<T> Change<T> {
    /// The same, whatever was made.
    pub(super) fn without(self) -> Change<()> {
        match self {
            Self::Made(_) => Change::Made(()),
            Self::OtherVersion => Change::OtherVersion,
            Self::Absent => Change::Absent,
        }
    }
}

impl Change<Bytes> {
    fn parsed(self) -> Result<Change<Resource>, BucketError> {
        Ok(match self {
            Self::Made(body) => Change::Made(parse(&body)?),
            Self::OtherVersion => Change::OtherVersion,
            Self::Absent => Change::Absent,
        })
    }
}

/// A list, or a part of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: Vec<Resource>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Rewritten {
    done: bool,
    #[serde(default, rename = "rewriteToken")]
    token: Option<String>,
    #[serde(default)]
    resource: Option<Resource>,
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, BucketError> {
    serde_json::from_slice(body).map_err(|error| BucketError::Malformed(error.into()))
}

impl Api {
    pub(super) fn new(
        credentials: Credentials,
        renewed: Renewed,
        options: &BucketOptions,
    ) -> Result<Self, BucketError> {
        let client = reqwest::Client::builder()
            .timeout(options.patience)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            credentials,
            bucket: format!("{}/storage/v1/b/{}", options.endpoint, options.bucket),
            retries: Retries::new(renewed),
            patience: options.patience,
            clock: Clock::default(),
        })
    }

    pub(super) async fn stat(&self, name: &str) -> Result<Option<Resource>, BucketError> {
        match self.send(Method::GET, &object(name), None).await {
            Ok(body) => Ok(Some(parse(&body)?)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says of this version of an object that it is used, which the service notes the
    /// time of.
    pub(super) async fn mark(&self, version: &Resource) -> Result<Change<Resource>, BucketError> {
        let (generation, metageneration) = (version.generation, version.metageneration);
        let path = format!(
            "{}?ifGenerationMatch={generation}&ifMetagenerationMatch={metageneration}",
            object(&version.name)
        );
        let mark = json!({ "metadata": { "nixery-used": Timestamp::now().to_string() } });
        change(self.send(Method::PATCH, &path, Some(&mark)).await)?.parsed()
    }

    /// Deletes an object; with a version, only that and only with its present metadata.
    pub(super) async fn delete(
        &self,
        name: &str,
        version: Option<&Resource>,
    ) -> Result<Change<()>, BucketError> {
        let path = match version {
            Some(Resource { generation, metageneration, .. }) => format!(
                "{}?ifGenerationMatch={generation}&ifMetagenerationMatch={metageneration}",
                object(name)
            ),
            None => object(name),
        };
        Ok(change(self.send(Method::DELETE, &path, None).await)?.without())
    }

    /// Copies an object within the service to where there is this generation now; 0
    /// for none.
    pub(super) async fn rewrite(
        &self,
        source: &Resource,
        target: &str,
        expected: i64,
    ) -> Result<Change<Resource>, BucketError> {
        let (_, bucket) = self.bucket.rsplit_once('/').unwrap_or_default();
        let mut path = format!(
            "{}/rewriteTo/b/{bucket}{}?ifSourceGenerationMatch={}&ifGenerationMatch={expected}",
            object(&source.name),
            object(target),
            source.generation
        );
        let first = path.len();
        loop {
            let rewritten = match change(self.send(Method::POST, &path, None).await)? {
                Change::Made(body) => parse::<Rewritten>(&body)?,
                Change::OtherVersion => return Ok(Change::OtherVersion),
                Change::Absent => return Ok(Change::Absent),
            };
            match (rewritten.done, rewritten.resource, rewritten.token) {
                (true, Some(resource), _) => return Ok(Change::Made(resource)),
                // Between places, the service takes several turns.
                (false, _, Some(token)) => {
                    path.truncate(first);
                    path.push_str("&rewriteToken=");
                    path.extend(utf8_percent_encode(&token, NAME));
                }
                _ => return Err(BucketError::Malformed("a rewrite without its result".into())),
            }
        }
    }

    /// Joins objects, at most 32, into one that isn't there yet.
    pub(super) async fn compose(
        &self,
        sources: &[Version],
        target: &str,
        destination: &Value,
    ) -> Result<Change<Resource>, BucketError> {
        let path = format!("{}/compose?ifGenerationMatch=0", object(target));
        let sources: Vec<Value> = sources
            .iter()
            .map(|source| json!({ "name": source.name, "generation": source.generation.to_string() }))
            .collect();
        let body = json!({ "sourceObjects": sources, "destination": destination });
        change(self.send(Method::POST, &path, Some(&body)).await)?.parsed()
    }

    /// All objects whose names begin like this.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Resource>, BucketError> {
        let prefix = utf8_percent_encode(prefix, NAME);
        let first = format!("/o?prefix={prefix}&maxResults={PAGE}");
        let mut all = Vec::new();
        let mut path = first.clone();
        loop {
            let page: Page = parse(&self.send(Method::GET, &path, None).await?)?;
            all.extend(page.items);
            let Some(token) = page.next_page_token else { return Ok(all) };
            path = format!("{first}&pageToken={}", utf8_percent_encode(&token, NAME));
        }
    }

    /// Whether the bucket is there, and can be read.
    pub(super) async fn check(&self) -> Result<(), BucketError> {
        self.send(Method::GET, "/o?maxResults=1&fields=kind", None).await.map(drop)
    }

    /// Which of these permissions the account has.
    pub(super) async fn test_permissions(
        &self,
        permissions: &[&str],
    ) -> Result<Vec<String>, BucketError> {
        #[derive(Deserialize)]
        struct Held {
            #[serde(default)]
            permissions: Vec<String>,
        }
        let query: Vec<String> =
            permissions.iter().map(|permission| format!("permissions={permission}")).collect();
        let path = format!("/iam/testPermissions?{}", query.join("&"));
        let held: Held = parse(&self.send(Method::GET, &path, None).await?)?;
        Ok(held.permissions)
    }

    /// Sends a request, again where that may help.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, BucketError> {
        let (method, body) = (&method, body);
        let once = |attempt| async move {
            match self.send_once(method, path, body).await {
                // The attempt before has deleted it.
                Err(error)
                    if error.status() == Some(404) && *method == Method::DELETE && attempt > 1 =>
                {
                    Ok(Bytes::new())
                }
                other => other,
            }
        };
        self.retries.run(self.patience * TRIED, once).await
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, BucketError> {
        let headers = timeout(self.patience, self.credentials.headers(Extensions::new())).await;
        let headers = match headers.map_err(|_| BucketError::NoToken)?? {
            CacheableResource::New { data, .. } => data,
            // Only for callers who say which they have.
            CacheableResource::NotModified => http::HeaderMap::new(),
        };
        let url = format!("{}{path}", self.bucket);
        let mut request = self.client.request(method.clone(), url).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        } else if method == Method::POST {
            // The service wants to be told that there is nothing.
            request = request.header(reqwest::header::CONTENT_LENGTH, 0);
        }
        let response = request.send().await?;
        self.clock.compare(response.headers());
        let status = response.status();
        let body = response.bytes().await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(BucketError::Refused { status: status.as_u16(), message: message(&body) })
    }
}

fn object(name: &str) -> String {
    format!("/o/{}", utf8_percent_encode(name, NAME))
}

fn change(result: Result<Bytes, BucketError>) -> Result<Change<Bytes>, BucketError> {
    match result {
        Ok(body) => Ok(Change::Made(body)),
        Err(error) => match error.status() {
            Some(412) => Ok(Change::OtherVersion),
            Some(404) => Ok(Change::Absent),
            _ => Err(error),
        },
    }
}
