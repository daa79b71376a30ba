//! Images that are larger than the server makes them.

use std::fs;

use crate::harness::{COUNTING, Server, Setup, calls, debian, fixtures};

/// What is refused says which limit it is, and by which setting it is raised.
#[test]
fn what_is_too_large_is_refused_before_it_is_packed() {
    for (variable, value, setting, nix_runs) in [
        ("NIXERY_IMAGE_MAX_PACKAGES", "2", "image.max_packages", 0),
        ("NIXERY_IMAGE_MAX_PATHS", "4", "image.max_paths", 1),
        ("NIXERY_IMAGE_MAX_CLOSURE_BYTES", "600000", "image.max_closure_bytes", 1),
    ] {
        // Three store paths, and the two that are in every image.
        let image = "one/two/three";
        let limited = Setup::new(fixtures()).builder(COUNTING).variable(variable, value);
        let server = limited.start();
        let refused = server.get(&format!("/v2/{image}/manifests/latest"));
        assert_eq!((refused.status, refused.error().0.as_str()), (403, "DENIED"), "{variable}");
        let message = refused.error().1;
        assert!(message.contains(setting) && message.contains(value), "{message}");
        assert_eq!(calls(&server), nix_runs, "{variable}");
        let metrics = server.get("/metrics");
        let counted = "nixery_builds_refused_total{reason=\"size\"} 1";
        assert!(metrics.text().lines().any(|line| line == counted), "{}", metrics.text());
        let storage = server.state.path().join("storage");
        let empty = |kind: &str| storage.join(kind).read_dir().unwrap().next().is_none();
        assert!(empty("layers") && empty("manifests"), "{variable}: something was packed");

        // Smaller ones are made, and what was made before is served whatever the limit.
        server.manifest("one");
        let state = server.kill();
        let free = Setup::new(fixtures()).start_in(&state);
        let whole = free.manifest(image).body;
        let state = free.kill();
        let server = limited.start_in(&state);
        assert_eq!(server.manifest(image).body, whole, "{variable}");
        if setting != "image.max_packages" {
            // Known packages in another combination need no Nix, and are refused as well.
            let before = calls(&server);
            let other = server.get("/v2/one/three/manifests/latest");
            assert_eq!((other.status, calls(&server)), (403, before), "{}", other.text());
        }
    }
}

/// A line of /proc/PID/status (proc(5)), in bytes.
fn memory(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() << 10
}

/// With these threads and no bound it is 167 MB, on two cores.
#[test]
fn packing_stays_within_its_memory() {
    let server = Setup::new(debian())
        .variable("NIXERY_PACKING_THREADS", "256")
        .variable("NIXERY_PACKING_MEMORY", "64")
        .start();
    assert!(server.has_logged("fewer threads compress"));
    let before = memory(&server, "VmRSS");
    server.manifest("shell/git/jq");
    let most = memory(&server, "VmHWM") - before;
    println!("{most} bytes more at the peak than the {before} before");
    // What is recorded and asked for takes some as well.
    let besides = 24_000_000;
    assert!(most < 64_000_000 + besides, "{most} bytes");
}
