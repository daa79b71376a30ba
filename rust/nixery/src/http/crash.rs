//! Handlers that panic: a defect of this program, which fails one request and no others.

use std::any::Any;

use axum::Router;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use crate::assemble::{AssembleError, Failure};

/// Has a panic in a handler of `router` answered, with 500, rather than cut the
/// connection. What panicked, and where, is logged by the hook of `telemetry`.
pub(super) fn contained(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(answer))
}

fn answer(_panic: Box<dyn Any + Send>) -> Response {
    ApiError::Failure(Failure::logged("a request", AssembleError::Crashed)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_fails_its_own_request_only() {
        async fn crashing() -> Response {
            panic!("as the test wants")
        }
        let router = Router::new().route("/crash", get(crashing)).route("/", get("fine"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(axum::serve(listener, contained(router)).into_future());
        // One connection: that goes on too.
        let requests = "GET /crash HTTP/1.1\r\nHost: h\r\n\r\n\
                        GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        let (first, second) = answers.split_once("HTTP/1.1 200").unwrap();
        assert!(first.starts_with("HTTP/1.1 500"), "{answers}");
        assert!(first.contains("\"code\":\"UNKNOWN\"") && !first.contains("as the test"));
        assert!(second.ends_with("fine"), "{answers}");
    }
}
