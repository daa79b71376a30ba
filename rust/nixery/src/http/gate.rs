//! Who asks, and what they are answered if that isn't clear.
//!
//! Clients without credentials are told how to present some, in the one of two ways that
//! lets all of them do what they may:
//!
//! - Where nobody may do anything without, it is Basic.
//! - Where there is something for those without, it is Bearer, with the address where a
//!   name and password are exchanged for a token, or nothing for one that says so. docker
//!   asks `/v2/` how to log in before anything else, and never again; told Basic there, it
//!   gives up if it has no password, and told nothing, it never sends the one that it has.
//!
//! Source: distribution, "Token Authentication Specification".

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::builds::NO_STORE;
use super::error::ApiError;
use super::forwarded::Client;
use super::layout::error_page;
use super::login::{LOGIN_PATH, Sender};
use super::manifests::IMMUTABLE;
use super::verify::{Busy, Verifier};
use super::{API_VERSION, Shared};
use crate::access::{Caller, Credentials, Presented, Rules};

/// Where tokens are had.
pub(super) const TOKEN_PATH: &str = "/v2/token";

/// How long clients may use a token before they ask for another one, in seconds. What is
/// in it is checked each time.
const TOKEN_SECONDS: u32 = 3600;

/// Whom browsers say that the password is for.
pub(super) const BASIC: &str = "Basic realm=\"nixery\", charset=\"UTF-8\"";

/// [`IMMUTABLE`], for what not everybody may have.
const IMMUTABLE_FOR_ONE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");

/// Knows who may do what.
#[derive(Debug)]
pub struct Gate {
    pub(super) rules: Rules,
    verifier: Verifier,
    /// This server as clients reach it, where some of them have to be told.
    url: Option<String>,
}

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub(super) enum Visitor {
    /// Nobody has to say who they are.
    Anybody,
    /// Somebody who may do what rules say.
    Known {
        caller: Caller,
        /// How to present credentials, for those who have presented nothing.
        challenge: Option<String>,
    },
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    /// Whom [`pass`] let pass. Anybody, where nothing has been there: if there is a gate,
    /// they may nothing.
    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(request.extensions.get().cloned().unwrap_or(Self::Anybody))
    }
}

impl Gate {
    /// Lets callers do what `rules` allow. `url` is this server's as clients reach it; it
    /// must be there if some of them may do something without logging in, and others more.
    pub fn new(rules: Rules, credentials: Credentials, url: Option<String>) -> Self {
        Self { rules, verifier: Verifier::new(credentials), url }
    }

    /// Replaces what clients are compared with.
    pub fn set_credentials(&self, credentials: Credentials) {
        self.verifier.replace(credentials);
    }

    async fn visitor(
        &self,
        headers: &HeaderMap,
        path: &str,
        client: Client,
    ) -> Result<Visitor, ApiError> {
        let challenge = || self.challenge(path);
        let wrong = |message: &str| ApiError::Unauthorized {
            message: message.to_owned(),
            challenge: challenge(),
        };
        let presented = match presented(headers) {
            Ok(presented) => presented,
            Err(message) => return Err(wrong(&message)),
        };
        let (caller, challenge) = match presented {
            Presented::Nothing => {
                // Without a rule for those who log in, nobody has to.
                (Caller::Anonymous, self.rules.need_login().then(challenge))
            }
            Presented::Anonymous => (Caller::Anonymous, None),
            Presented::Token(token) => match self.verifier.user_of(&token) {
                Some(user) => (Caller::User(user), None),
                None => return Err(wrong("the token is not one of this registry")),
            },
            Presented::Password { user, password } => {
                match self.verifier.verify(client, &user, &password).await {
                    Ok(true) => (Caller::User(user.into()), None),
                    Ok(false) => return Err(wrong("the user name or the password is wrong")),
                    Err(Busy) => return Err(ApiError::TooManyLogins),
                }
            }
        };
        Ok(Visitor::Known { caller, challenge })
    }

    fn challenge(&self, path: &str) -> String {
        match &self.url {
            Some(url) if self.rules.are_for_anonymous() && is_of_registry(path) => {
                // What a client would call it, for those who show that.
                let service = url.split("://").nth(1).unwrap_or(url);
                format!("Bearer realm=\"{url}{TOKEN_PATH}\",service=\"{service}\"")
            }
            _ => BASIC.to_owned(),
        }
    }
}

/// Whether registry clients ask for it, but for the place where they log in.
fn is_of_registry(path: &str) -> bool {
    (path == "/v2" || path.starts_with("/v2/")) && path != TOKEN_PATH
}

fn presented(headers: &HeaderMap) -> Result<Presented, String> {
    match headers.get(AUTHORIZATION) {
        None => Ok(Presented::Nothing),
        Some(value) => {
            Presented::parse(value.as_bytes()).map_err(|malformed| malformed.to_string())
        }
    }
}

/// Stops requests of those who aren't who they say they are, and has the others known to
/// what answers them.
pub(super) async fn pass(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let sender = Sender::of(&request);
    sender.answer(let_pass(shared, request, next).await)
}

async fn let_pass(shared: Arc<Shared>, mut request: Request, next: Next) -> Response {
    let Some(gate) = &shared.registry.gate else { return next.run(request).await };
    let path = request.uri().path();
    let is_page = path.starts_with("/builds") || path == LOGIN_PATH;
    if !(is_page || path == "/v2" || path.starts_with("/v2/") || path.starts_with("/api/")) {
        return next.run(request).await;
    }
    let client = request.extensions().get().copied().unwrap_or(Client(None));
    let visitor = gate.visitor(request.headers(), path, client).await;
    match visitor {
        Ok(visitor) => request.extensions_mut().insert(visitor),
        Err(error) if is_page => return error_page(&shared, &error),
        Err(error) => {
            let (name, value) = API_VERSION;
            return ([(name, value)], error).into_response();
        }
    };
    let mut response = next.run(request).await;
    if let Some(cache) = response.headers_mut().get_mut(CACHE_CONTROL)
        && *cache == IMMUTABLE
    {
        *cache = IMMUTABLE_FOR_ONE;
    }
    response
}

/// Exchanges what is presented for a token.
pub(super) fn token(visitor: &Visitor, headers: &HeaderMap) -> Result<Response, ApiError> {
    let (Visitor::Known { .. }, Ok(presented)) = (visitor, presented(headers)) else {
        return Err(ApiError::NoSuchEndpoint);
    };
    let token = presented.token();
    let body = json!({ "token": token, "access_token": token, "expires_in": TOKEN_SECONDS });
    Ok(([NO_STORE], Json(body)).into_response())
}

impl Visitor {
    /// For whom it is said that there is a registry: who has something to present has to do
    /// that now.
    pub(super) fn enter(&self) -> Result<(), ApiError> {
        match self {
            Self::Known { challenge: Some(challenge), .. } => Err(ApiError::Unauthorized {
                message: "present credentials: log in".to_owned(),
                challenge: challenge.clone(),
            }),
            Self::Known { challenge: None, .. } | Self::Anybody => Ok(()),
        }
    }
}
