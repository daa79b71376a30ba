//! What pages of other sites have browsers send.

use crate::harness::{COUNTING, Setup, calls, fixtures, request};

#[test]
fn pages_of_others_have_nothing_made_where_nobody_logs_in_either() {
    let server = Setup::new(fixtures()).builder(COUNTING).start();
    for site in ["cross-site", "same-site"] {
        for (method, path) in [
            ("POST", "/api/v1/builds/one/latest"),
            ("GET", "/v2/one/manifests/latest"),
            ("HEAD", "/v2/one/manifests/latest"),
            ("GET", "/api/v1/packages"),
        ] {
            let answer = request(&server.address, method, path, &[("Sec-Fetch-Site", site)]);
            assert_eq!(answer.status, 403, "{method} {path} {site}");
        }
    }
    assert_eq!(calls(&server), 0);
    let made =
        request(&server.address, "GET", "/v2/one/manifests/latest", &[("Sec-Fetch-Site", "none")]);
    assert_eq!(made.status, 200, "what somebody types is nobody else's: {}", made.text());
    // What there is already can be had by any page.
    let digest = made.header("docker-content-digest");
    for path in [&format!("/v2/one/manifests/{digest}"), "/v2/", "/builds", "/"] {
        let answer = request(&server.address, "GET", path, &[("Sec-Fetch-Site", "cross-site")]);
        assert_eq!(answer.status, 200, "{path}");
    }
}
