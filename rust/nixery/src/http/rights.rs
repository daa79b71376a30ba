//! What visitors may do, and what those are told who may not.

use std::sync::Arc;

use super::Shared;
use super::error::ApiError;
use super::gate::{BASIC, Gate, Visitor};
use crate::access::{Caller, Right, Rules};
use crate::image::{ImageName, ImageSpec};

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
        self.is_allowed(visitor, |rules, caller| rules.allow_something(caller, right))
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
        self.is_allowed(visitor, |rules, caller| rules.allow_package(caller, Right::Pull, name))
    }

    /// Whether a visitor is shown that there is such an image.
    pub(super) fn sees(&self, visitor: &Visitor, spec: &ImageSpec) -> bool {
        self.is_allowed(visitor, |rules, caller| rules.allow(caller, Right::Pull, spec).is_ok())
    }

    /// Whether the rules, if there are any, let a visitor do something.
    fn is_allowed(&self, visitor: &Visitor, by: impl FnOnce(&Rules, &Caller) -> bool) -> bool {
        match (&self.registry.gate, visitor) {
            (None, _) => true,
            // Nothing leads past the gate; if it did, it would lead nowhere.
            (Some(_), Visitor::Anybody) => false,
            (Some(gate), Visitor::Known { caller, .. }) => by(&gate.rules, caller),
        }
    }
}

impl Visitor {
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
