//! Servers that share a bucket of Cloud Storage, which an emulator stands for.

mod access;
mod faults;

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use crate::harness::{
    ACCOUNT, BROKEN, BUCKET, Emulator, Response, Server, Setup, Source, debian, digest_of,
    fixtures, get, head, request, run, wait_until,
};

/// A server with the emulator's bucket, at this URL of the service.
fn setup_at(source: Source, emulator: &Emulator, url: &str) -> Setup {
    Setup::new(source)
        .variable("NIXERY_STORAGE_BACKEND", "gcs")
        .variable("GCS_BUCKET", BUCKET)
        .variable("NIXERY_GCS_ENDPOINT", url)
        .variable("NIXERY_GCS_PUBLIC_ENDPOINT", emulator.url())
        .variable("GOOGLE_APPLICATION_CREDENTIALS", emulator.account_file().to_str().unwrap())
}

fn setup(source: Source, emulator: &Emulator) -> Setup {
    setup_at(source, emulator, emulator.url())
}

/// Without credentials, for an emulator that lets everybody in.
fn anonymous(source: Source, emulator: &Emulator, url: &str) -> Setup {
    setup_at(source, emulator, url).variable("NIXERY_GCS_ANONYMOUS", "true")
}

/// Follows a redirect, if it is one.
fn follow(response: Response) -> Response {
    if response.status != 307 {
        return response;
    }
    let url = response.header("location");
    let (address, path) = url["http://".len()..].split_once('/').unwrap();
    get(address, &format!("/{path}"))
}

/// Checks that all of an image can be fetched and is what its digests say.
fn fetch(server: &Server, image: &str) -> Vec<u8> {
    let manifest = server.manifest(image);
    let document = manifest.json();
    let layers = document["layers"].as_array().unwrap();
    for blob in layers.iter().chain([&document["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        let content = follow(server.get(&format!("/v2/{image}/blobs/{digest}")));
        assert_eq!((content.status, &digest_of(&content.body)[..]), (200, digest), "{image}");
    }
    manifest.body
}

/// The names of all objects, where everybody may list them.
fn objects(emulator: &Emulator) -> Vec<String> {
    let address = emulator.address().to_string();
    let list = get(&address, &format!("/storage/v1/b/{BUCKET}/o")).json();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// How often each object has been given its content.
fn written(emulator: &Emulator) -> BTreeMap<String, usize> {
    let requests = get(&emulator.address().to_string(), "/_/requests").json();
    let mut written = BTreeMap::new();
    for entry in requests.as_array().unwrap() {
        let (path, status) = (entry[1].as_str().unwrap(), entry[2].as_u64().unwrap());
        let uploaded = path.starts_with("/upload/").then(|| path.split("name=").nth(1)).flatten();
        let rewritten = path.split("/rewriteTo/").nth(1).and_then(|to| to.split("/o/").nth(1));
        let name = uploaded.or(rewritten).map(|name| name.split(['&', '?']).next().unwrap());
        if let Some(name) = name.filter(|_| status == 200) {
            *written.entry(name.replace("%2F", "/")).or_default() += 1;
        }
    }
    written
}

#[test]
fn blobs_are_fetched_from_the_bucket_by_signed_urls() {
    let emulator = Emulator::with_account(&[]);
    let by_account = setup(debian(), &emulator);
    let by_key = by_account
        .clone()
        .variable("GCS_SIGNING_KEY", emulator.key_file().to_str().unwrap())
        .variable("GCS_SIGNING_ACCOUNT", ACCOUNT);
    for setup in [by_account, by_key] {
        sends_clients_to_the_bucket(&emulator, &setup.start());
    }
}

fn sends_clients_to_the_bucket(emulator: &Emulator, server: &Server) {
    let manifest = server.manifest("jq").json();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let path = format!("/v2/jq/blobs/{layer}");

    let sent = request(&server.address, "GET", &path, &[("Range", "bytes=0-9")]);
    assert_eq!((sent.status, sent.header("cache-control")), (307, "no-store"));
    let url = sent.header("location").to_owned();
    assert!(url.starts_with(&format!("{}/{BUCKET}/layers/{}?", emulator.url(), &layer[7..])));
    let (address, path_and_query) = url["http://".len()..].split_once('/').unwrap();
    let path_and_query = format!("/{path_and_query}");
    let part = request(address, "GET", &path_and_query, &[("Range", "bytes=0-9")]);
    assert_eq!((part.status, part.body.len()), (206, 10));
    // Nobody without a signature.
    let (unsigned, _) = path_and_query.split_once('?').unwrap();
    assert_eq!(get(address, unsigned).status, 403);

    let asked = head(&server.address, &path);
    let size = manifest["layers"][0]["size"].to_string();
    assert_eq!((asked.status, asked.header("content-length")), (200, &size[..]));
    let etag = format!("\"{layer}\"");
    let known = request(&server.address, "GET", &path, &[("If-None-Match", &etag)]);
    assert_eq!(known.status, 304);
    let missing = server.get(&format!("/v2/jq/blobs/{}", digest_of(b"missing")));
    assert_eq!((missing.status, missing.error().0.as_str()), (404, "BLOB_UNKNOWN"));
    fetch(server, "jq");
}

#[test]
fn without_redirects_blobs_are_sent_through_the_server() {
    let emulator = Emulator::with_account(&[]);
    let server = setup(debian(), &emulator).variable("NIXERY_GCS_REDIRECT", "false").start();
    let manifest = server.manifest("jq").json();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let path = format!("/v2/jq/blobs/{digest}");
        let whole = server.get(&path);
        assert_eq!((whole.status, &digest_of(&whole.body)[..]), (200, digest));
        let size = whole.body.len();
        for (range, expected) in [
            ("bytes=10-19".to_owned(), &whole.body[10..20]),
            ("bytes=-7".to_owned(), &whole.body[size - 7..]),
            (format!("bytes={}-", size / 2), &whole.body[size / 2..]),
        ] {
            let part = request(&server.address, "GET", &path, &[("Range", &range)]);
            assert_eq!((part.status, &part.body[..]), (206, expected), "{range}");
        }
        let range = format!("bytes={size}-");
        assert_eq!(request(&server.address, "GET", &path, &[("Range", &range)]).status, 416);
        assert_eq!(head(&server.address, &path).header("content-length"), size.to_string());
    }
}

#[test]
fn an_image_asked_of_two_servers_at_once_is_stored_once() {
    let emulator = Emulator::open_to_all();
    let servers = [(); 2].map(|()| anonymous(fixtures(), &emulator, emulator.url()).start());
    let manifests: Vec<Vec<u8>> = thread::scope(|scope| {
        let asked = servers.each_ref().map(|server| scope.spawn(|| fetch(server, "five/large")));
        asked.map(|asked| asked.join().unwrap()).into()
    });
    assert_eq!(manifests[0], manifests[1]);
    let blobs = written(&emulator).into_iter().filter(|(name, _)| name.starts_with("layers/"));
    let blobs: Vec<(String, usize)> = blobs.filter(|(name, _)| !name.contains(".probe")).collect();
    assert!(blobs.len() >= 4, "{blobs:?}");
    assert!(blobs.iter().all(|(_, times)| *times == 1), "{blobs:?}");
    wait_until("the removal of parts", || {
        !objects(&emulator).iter().any(|name| name.starts_with("staging/"))
    });
}

#[test]
fn each_server_serves_what_the_other_made() {
    let emulator = Emulator::with_account(&[]);
    let one = setup(fixtures(), &emulator).start();
    let other = setup(fixtures(), &emulator).start();
    let (three, four) = (fetch(&one, "three"), fetch(&other, "four"));
    let without_nix = setup(fixtures(), &emulator).builder(BROKEN).start();
    for server in [&one, &other, &without_nix] {
        assert_eq!(fetch(server, "three"), three);
        assert_eq!(fetch(server, "four"), four);
        fetch(server, "three/four");
    }
    // By digest, of one that has never seen it.
    let fresh = setup(fixtures(), &emulator).builder(BROKEN).start();
    let by_digest = fresh.get(&format!("/v2/three/manifests/{}", digest_of(&three)));
    assert_eq!((by_digest.status, by_digest.body), (200, three));
}

/// Layers are put together from members that are read from the bucket.
#[test]
fn layers_put_together_from_the_bucket_are_the_same() {
    let emulator = Emulator::with_account(&[]);
    let expected = Setup::new(debian()).start().manifest("git/jq/htop").body;
    let server = setup(debian(), &emulator).start();
    for other in ["git", "jq/nano", "shell/htop"] {
        server.manifest(other);
    }
    assert_eq!(fetch(&server, "git/jq/htop"), expected);
    let metrics = server.get("/metrics");
    let copied = metrics.text().lines().find(|line| line.contains("origin=\"copied\"")).unwrap();
    let copied: u64 = copied.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(copied > 1_000_000, "only {copied} bytes were copied");
}

#[test]
fn garbage_is_collected_in_a_bucket_too() {
    let emulator = Emulator::open_to_all();
    let server = anonymous(fixtures(), &emulator, emulator.url()).start();
    fetch(&server, "five");
    let address = emulator.address().to_string();
    assert_eq!(request(&address, "POST", "/_/age?seconds=8640000", &[]).status, 200);
    let kept = fetch(&server, "two/large");
    let collect = |dry_run: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixery"));
        command.arg("--gc").args(dry_run.then_some("--dry-run"));
        let variables = [
            ("NIXERY_CONFIG", "/dev/null"),
            ("NIXERY_PKGS_PATH", "/none"),
            ("STATE_DIRECTORY", server.state.path().to_str().unwrap()),
            ("NIXERY_STORAGE_BACKEND", "gcs"),
            ("GCS_BUCKET", BUCKET),
            ("NIXERY_GCS_ENDPOINT", emulator.url()),
            ("NIXERY_GCS_ANONYMOUS", "true"),
        ];
        String::from_utf8(run(command.envs(variables)).stdout).unwrap()
    };
    let would = collect(true);
    let did = collect(false);
    assert_eq!(would.replace("would remove", "removed"), did);
    assert!(did.contains("removed cacert five iana-etc for "), "{did}");
    assert!(did.contains("removed 1 images"), "{did}");
    let fresh = anonymous(fixtures(), &emulator, emulator.url()).builder(BROKEN).start();
    assert_eq!(fetch(&fresh, "two/large"), kept);
    assert!(collect(false).contains("removed 0 images, 0 blobs"));
}
