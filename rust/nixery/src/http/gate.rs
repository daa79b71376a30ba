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
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::builds::NO_STORE;
use super::error::ApiError;
use super::forwarded::Client;
use super::layout::error_page;
use super::login::{LOGIN_PATH, Sender};
use super::manifests::IMMUTABLE;
use super::route::{Reference, Route};
use super::verify::{Busy, Verifier};
use super::{API_VERSION, Shared};
use crate::access::{Caller, Credentials, Presented, Right, Rules};
use crate::image::{ImageName, ImageSpec};

/// Where tokens are had.
pub(super) const TOKEN_PATH: &str = "/v2/token";

/// How long clients may use a token before they ask for another one, in seconds. What is
/// in it is checked each time.
const TOKEN_SECONDS: u32 = 3600;

/// Whom browsers say that the password is for.
const BASIC: &str = "Basic realm=\"nixery\", charset=\"UTF-8\"";

/// How a browser says that a page of another site has sent it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// [`IMMUTABLE`], for what not everybody may have.
const IMMUTABLE_FOR_ONE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");

/// Knows who may do what.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
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
        Err(error) if is_page => return error_page(&error),
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

/// Stops what another site's page has a browser send and what may have something made:
/// the browser reaches servers that the page's owner doesn't, and sends the password that it
/// was told once. A page of the same site is another one too, as often a whole company is
/// one. Registry clients never send the header, and browsers always where it counts, on
/// connections with TLS and to this machine (W3C, "Fetch Metadata Request Headers").
pub(super) async fn keep_pages_out(request: Request, next: Next) -> Response {
    let is_foreign = request
        .headers()
        .get(FETCH_SITE)
        .is_some_and(|site| site != "same-origin" && site != "none");
    if is_foreign && may_begin_work(request.method(), request.uri().path()) {
        return ApiError::ForeignPage.into_response();
    }
    next.run(request).await
}

/// Whether Nix may be asked for something by a request.
fn may_begin_work(method: &Method, path: &str) -> bool {
    let is_tag = || {
        let route = Route::parse(path);
        matches!(route, Ok(Route::Manifest { reference: Reference::Tag(_), .. }))
    };
    method == Method::POST || path == "/api/v1/packages" || is_tag()
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

impl Shared {
    /// Whether a visitor may do this; why not, otherwise.
    pub(super) fn allow(
        &self,
        visitor: &Visitor,
        right: Right,
        name: &ImageName,
    ) -> Result<(), ApiError> {
        let Some(gate) = &self.registry.gate else { return Ok(()) };
        let Visitor::Known { caller, .. } = visitor else {
            // Nothing leads past the gate; if it did, it would lead nowhere.
            return Err(visitor.refused(name, "it is not known who asks for this"));
        };
        let spec = name.expand(self.registry.default_platform)?;
        gate.rules.allow(caller, right, &spec).map_err(|packages| {
            let right = match right {
                Right::Pull => "pull images",
                Right::Build => "have images made",
            };
            let of = if packages.is_empty() {
                String::new()
            } else {
                format!(" of {}", packages.join(", "))
            };
            visitor.refused(name, &format!("{} may not {right}{of} here", caller.name()))
        })
    }

    /// Whether there is anything for those who haven't logged in.
    pub(super) fn has_for_anonymous(&self) -> bool {
        self.registry.gate.as_ref().is_none_or(|gate| gate.rules.are_for_anonymous())
    }

    /// Whether anything is made for those who haven't logged in.
    pub(super) fn builds_for_anonymous(&self) -> bool {
        let may_build =
            |gate: &Arc<Gate>| gate.rules.allow_something(&Caller::Anonymous, Right::Build);
        self.registry.gate.as_ref().is_none_or(may_build)
    }

    /// Whether there is anything that a visitor may do this with.
    pub(super) fn may_something(&self, visitor: &Visitor, right: Right) -> bool {
        match (&self.registry.gate, visitor) {
            (None, _) => true,
            (Some(_), Visitor::Anybody) => false,
            (Some(gate), Visitor::Known { caller, .. }) => {
                gate.rules.allow_something(caller, right)
            }
        }
    }

    /// Whether a visitor may pull anything; why not, otherwise.
    pub(super) fn allow_something(&self, visitor: &Visitor) -> Result<(), ApiError> {
        if self.may_something(visitor, Right::Pull) {
            return Ok(());
        }
        let Visitor::Known { caller, .. } = visitor else {
            return Err(ApiError::Denied { message: "it is not known who asks".to_owned() });
        };
        Err(match caller {
            Caller::Anonymous => ApiError::Unauthorized {
                message: "there is nothing here for anonymous: log in".to_owned(),
                challenge: BASIC.to_owned(),
            },
            Caller::User(user) => {
                ApiError::Denied { message: format!("{user} may not pull anything here") }
            }
        })
    }

    /// Whether a visitor is shown that there is a package of this name.
    pub(super) fn shows_package(&self, visitor: &Visitor, name: &str) -> bool {
        match (&self.registry.gate, visitor) {
            (None, _) => true,
            (Some(_), Visitor::Anybody) => false,
            (Some(gate), Visitor::Known { caller, .. }) => {
                gate.rules.allow_package(caller, Right::Pull, name)
            }
        }
    }

    /// Whether a visitor is shown that there is such an image.
    pub(super) fn sees(&self, visitor: &Visitor, spec: &ImageSpec) -> bool {
        match (&self.registry.gate, visitor) {
            (None, _) => true,
            (Some(_), Visitor::Anybody) => false,
            (Some(gate), Visitor::Known { caller, .. }) => {
                gate.rules.allow(caller, Right::Pull, spec).is_ok()
            }
        }
    }
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

    /// An image that there isn't, for somebody who may only have what there is.
    pub(super) fn not_made(&self, name: &ImageName) -> ApiError {
        let who = match self {
            Self::Known { caller, .. } => caller.name(),
            Self::Anybody => "nobody",
        };
        let message = format!(
            "this image has not been made yet, and {who} may only pull what was made before: \
             somebody who may have it made has to pull it first"
        );
        self.refused(name, &message)
    }

    /// Who hasn't presented anything is asked to; others can't do more.
    fn refused(&self, name: &ImageName, message: &str) -> ApiError {
        match self {
            Self::Known { challenge: Some(challenge), .. } => {
                let scope = if challenge == BASIC {
                    String::new()
                } else {
                    format!(",scope=\"repository:{name}:pull\"")
                };
                ApiError::Unauthorized {
                    message: format!("{message}: log in"),
                    challenge: format!("{challenge}{scope}"),
                }
            }
            Self::Known { challenge: None, .. } | Self::Anybody => {
                ApiError::Denied { message: message.to_owned() }
            }
        }
    }
}
