//! Servers that share a bucket of Cloud Storage, which an emulator stands for.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{
    ACCOUNT, BROKEN, BUCKET, Emulator, Fault, FaultProxy, Response, Rule, Server, Setup, Source,
    debian, digest_of, fixtures, get, head, request, run, wait_until,
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

/// A moment's failure of the bucket was taken for damage, and all was packed again.
#[test]
fn layers_are_not_packed_again_while_the_bucket_fails() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(debian(), &emulator, &proxy.url()).start();
    for other in ["git", "jq/nano", "shell/htop"] {
        server.manifest(other);
    }
    // What other layers are read by; records are whole objects elsewhere.
    proxy.add(Rule::new(Fault::Status(503, "{}")).path("layers%2F").times(usize::MAX));
    let refused = server.get("/v2/git/jq/htop/manifests/latest");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!server.has_logged("packing all paths again"));
    proxy.clear();
    fetch(&server, "git/jq/htop");
}

#[test]
fn a_server_killed_while_it_uploads_leaves_nothing_others_trip_over() {
    let emulator = Emulator::open_to_all();
    for step in ["name=staging", "compose", "rewriteTo", "name=builds"] {
        let proxy = FaultProxy::start(emulator.address());
        let stall = Fault::Stall(Duration::from_mins(5));
        proxy.add(Rule::new(stall).path(step).skip(usize::from(step == "name=staging")));
        let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
        let address = server.address.clone();
        let client = thread::spawn(move || {
            // It ends without an answer.
            let _ = std::panic::catch_unwind(|| get(&address, "/v2/large/manifests/latest"));
        });
        wait_until("the upload", || proxy.injected() == 1);
        let _state = server.kill();
        client.join().unwrap();

        let other = anonymous(fixtures(), &emulator, emulator.url()).start();
        fetch(&other, "large");
        // For the next step it is to be made anew.
        for name in objects(&emulator) {
            let path = format!("/storage/v1/b/{BUCKET}/o/{}", name.replace('/', "%2F"));
            request(&emulator.address().to_string(), "DELETE", &path, &[]);
        }
    }
}

#[test]
fn no_record_names_a_blob_that_could_not_be_stored() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
    for (image, step, status, expected) in [
        ("large", "name=staging", 403, 500),
        ("large", "compose", 500, 503),
        ("large", "rewriteTo", 403, 500),
        ("three", "name=layers", 403, 500),
    ] {
        proxy.add(Rule::new(Fault::Status(status, "{}")).path(step).times(usize::MAX));
        let response = server.get(&format!("/v2/{image}/manifests/latest"));
        assert_eq!(response.status, expected, "{step}: {}", response.text());
        proxy.clear();
        let objects = objects(&emulator);
        for name in &objects {
            let (kind, _) = name.split_once('/').unwrap();
            assert!(!["manifests", "builds", "paths"].contains(&kind) || is_sound(&emulator, name));
        }
    }
    fetch(&server, "large");
    fetch(&server, "three");
}

/// Whether all blobs that a record names are there, with their lengths.
fn is_sound(emulator: &Emulator, name: &str) -> bool {
    let address = emulator.address().to_string();
    let object = format!("/storage/v1/b/{BUCKET}/o/{}?alt=media", name.replace('/', "%2F"));
    let record = get(&address, &object).json()["record"].clone();
    let named = record["manifests"].as_array().cloned().unwrap_or(vec![record["blob"].clone()]);
    named.iter().all(|blob| {
        let digest = &blob["digest"].as_str().unwrap()[7..];
        let object = get(&address, &format!("/storage/v1/b/{BUCKET}/o/layers%2F{digest}"));
        object.status == 200 && object.json()["size"] == blob["size"].to_string().as_str()
    })
}

#[test]
fn while_the_bucket_cannot_be_reached_clients_are_told_to_come_back() {
    let emulator = Emulator::open_to_all();
    let proxy = FaultProxy::start(emulator.address());
    let server = anonymous(fixtures(), &emulator, &proxy.url()).start();
    fetch(&server, "two");
    proxy.close();
    // What is known needs no bucket.
    fetch(&server, "two");
    let refused = server.get("/v2/three/manifests/latest");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "10"), "{}", refused.text());
    assert!(refused.text().contains("storage can't be reached"), "{}", refused.text());
    proxy.reopen();
    fetch(&server, "three");
}

/// The metadata server's tokens last as long as it says, here for some seconds. One of its
/// answers is a refusal, after which the SDK asks no more.
#[test]
fn a_token_that_runs_out_is_renewed() {
    let emulator = Emulator::with_account(&["--token-lifetime", "4"]);
    let proxy = FaultProxy::start(emulator.address());
    proxy.add(Rule::new(Fault::Status(403, "{}")).path("/token").skip(1));
    let server = setup(fixtures(), &emulator)
        .variable("GOOGLE_APPLICATION_CREDENTIALS", "")
        .variable("HOME", "/nonexistent")
        .variable("GCE_METADATA_HOST", &proxy.address().to_string())
        .variable("NIXERY_GCS_REDIRECT", "false")
        .start();
    for image in ["one", "two", "three", "four", "five"] {
        fetch(&server, image);
        thread::sleep(Duration::from_secs(4));
    }
    assert_eq!(proxy.injected(), 1, "{:?}", proxy.seen());
    assert!(server.has_logged("the credentials were refused: made anew"));
    fetch(&server, "one/five");
}

/// Google's service signs for whoever has no key. It can't be told to the SDK where that
/// service is, so the server sees another file of hosts, and trusts another authority.
#[test]
fn urls_are_signed_by_the_service_where_that_is_wanted() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can have a port below 1024");
        return;
    }
    let directory = TempDir::new().unwrap();
    let authority = directory.path().join("authority.pem");
    let iam = ["--iam", "127.0.0.77:443", "--iam-ca", authority.to_str().unwrap()];
    let emulator = Emulator::with_account(&iam);
    let hosts =
        emulator.file("hosts", "127.0.0.1 localhost\n127.0.0.77 iamcredentials.googleapis.com\n");
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let mut setup = setup(fixtures(), &emulator)
        .variable("GOOGLE_APPLICATION_CREDENTIALS", "")
        .variable("HOME", "/nonexistent")
        .variable("GCE_METADATA_HOST", &emulator.address().to_string())
        .variable("SSL_CERT_FILE", authority.to_str().unwrap())
        .variable("NIXERY_GCS_SIGN", "iam");
    setup.runner = ["unshare", "-m", "sh", "-c", &script].map(str::to_owned).to_vec();
    let server = setup.start();
    fetch(&server, "two");
    let manifest = server.manifest("two").json();
    let config = manifest["config"]["digest"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v2/two/blobs/{config}")).status, 307);
}

#[test]
fn a_server_whose_bucket_cannot_be_used_does_not_start() {
    let emulator = Emulator::with_account(&[]);
    let public = emulator.file("public.pem", "-----BEGIN PUBLIC KEY-----\nMA==\n");
    let state = Arc::new(TempDir::new().unwrap());
    for (variables, told) in [
        (vec![("GCS_BUCKET", "another-bucket")], "there is no bucket another-bucket"),
        (vec![("NIXERY_GCS_SIGN", "none")], "clients can't get blobs from the bucket"),
        (vec![("NIXERY_GCS_ANONYMOUS", "true")], "doesn't accept the credentials"),
        (vec![("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")], "can't read /none.json"),
        (
            vec![("GCS_SIGNING_KEY", public.to_str().unwrap()), ("GCS_SIGNING_ACCOUNT", ACCOUNT)],
            "public.pem has a public key; expected a private RSA key in PEM",
        ),
    ] {
        let setup = variables
            .into_iter()
            .fold(setup(fixtures(), &emulator), |setup, (name, value)| setup.variable(name, value));
        let (status, log) = setup.try_start_in(&state).err().expect(told);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(told), "{told}: {log}");
    }
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
