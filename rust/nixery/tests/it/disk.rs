//! Disks that are full, or nearly.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::harness::{Server, Setup, debian, digest_of, fixtures, layers, wait_until};

/// A server whose images are on a small file system that only it sees, with so many MiB
/// of it taken.
struct Small {
    server: Server,
    /// What it sees, seen from here.
    inside: PathBuf,
}

impl Small {
    fn start(setup: Setup, size_mib: u32, taken_mib: u32) -> Self {
        let script = format!(
            r#"mkdir -p "$STORAGE_PATH" && mount -t tmpfs -o size={size_mib}m none "$STORAGE_PATH" &&
               head -c {taken_mib}m /dev/zero > "$STORAGE_PATH/ballast" && exec "$0" "$@""#
        );
        let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        let state = Arc::new(TempDir::new().unwrap());
        let storage = state.path().join("small");
        let mut setup = setup.variable("STORAGE_PATH", storage.to_str().unwrap());
        setup.runner = ["unshare", user, "sh", "-c", &script].map(str::to_owned).to_vec();
        let server = setup.start_in(&state);
        let root = PathBuf::from(format!("/proc/{}/root", server.process_id()));
        Self { server, inside: root.join(storage.strip_prefix("/").unwrap()) }
    }

    /// Leaves not a byte.
    fn fill(&self) {
        fs::write(self.inside.join("ballast"), vec![0; 100 << 20]).unwrap_err();
    }

    /// Makes the ballast of so many MiB.
    fn take(&self, mib: usize) {
        fs::write(self.inside.join("ballast"), vec![0; mib << 20]).unwrap();
    }

    fn pull(&self, image: &str) {
        for layer in layers(&self.server, image) {
            let blob = self.server.get(&format!("/v2/{image}/blobs/sha256:{layer}"));
            assert_eq!(digest_of(&blob.body), format!("sha256:{layer}"));
        }
    }

    /// How often it has logged something with this in it.
    fn logged(&self, text: &str) -> usize {
        self.server.log().iter().filter(|entry| entry.to_string().contains(text)).count()
    }

    fn metric(&self, line: &str) -> f64 {
        let metrics = self.server.get("/metrics");
        let value = metrics.text().lines().find_map(|found| found.strip_prefix(line));
        value.unwrap_or_else(|| panic!("no {line}: {}", metrics.text())).trim().parse().unwrap()
    }
}

/// In the Go program a full disk left files that failed all later images.
#[test]
fn a_full_disk_fails_the_image_and_nothing_after_it() {
    let small = Small::start(Setup::new(debian()).variable("NIXERY_STORAGE_MIN_FREE", "0"), 24, 20);
    let server = &small.server;
    server.manifest("cacert");
    let failed = server.get("/v2/git/manifests/latest");
    assert_eq!((failed.status, failed.error().0.as_str()), (503, "UNAVAILABLE"));
    assert!(failed.error().1.contains("disk is full"), "{}", failed.text());
    assert!(failed.header("retry-after").parse::<u32>().unwrap() > 0);
    wait_until("the reason in the log", || server.has_logged("no space left"));
    // Layers that were packed at the same time stop as soon as they notice.
    wait_until("the end of all unfinished files", || {
        let mut names = fs::read_dir(small.inside.join("layers")).unwrap();
        !names.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
    });
    small.pull("cacert");
    fs::remove_file(small.inside.join("ballast")).unwrap();
    small.pull("jq");
}

#[test]
fn with_too_little_room_what_there_is_is_served_and_nothing_new_made() {
    let setup = Setup::new(fixtures()).variable("NIXERY_STORAGE_MIN_FREE", "20");
    let small = Small::start(setup, 64, 10);
    let server = &small.server;
    small.pull("one");
    assert_eq!(server.get("/readyz").text(), "ready\n");

    small.take(50);
    for _ in 0..5 {
        let refused = server.get("/v2/two/manifests/latest");
        assert_eq!((refused.status, refused.error().0.as_str()), (503, "UNAVAILABLE"));
        assert!(refused.error().1.contains("storage.min_free"), "{}", refused.text());
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    small.pull("one");
    let ready = || {
        let ready = server.get("/readyz");
        assert_eq!(ready.status, 200, "so that a load balancer goes on sending clients");
        ready.text().to_owned()
    };
    // The last answer is remembered for a moment.
    wait_until("it is noticed", || ready().contains("too little room"));
    assert!(small.metric("nixery_builds_refused_total{reason=\"disk\"}") >= 5.0);
    assert!(small.metric("nixery_disk_free_bytes{disk=\"images\"}") < 20e6);
    assert_eq!(small.logged("the disk is nearly full"), 1, "once, and not for each client");

    small.take(10);
    small.pull("two");
    assert_eq!(small.logged("there is room again"), 1);
    wait_until("it is noticed", || ready() == "ready\n");
}

#[test]
fn garbage_is_collected_at_once_where_room_is_wanted() {
    collects_at_once("1", Duration::from_hours(48));
}

/// Once nothing was collected for a full disk that isn't older than `gc.keep`.
#[test]
fn where_room_is_wanted_images_go_that_would_be_kept_otherwise() {
    collects_at_once("30", Duration::from_hours(2));
}

/// With `keep` days to keep images for, an image that was used that long ago makes room.
fn collects_at_once(keep: &str, unused: Duration) {
    let setup = Setup::new(fixtures())
        .variable("NIXERY_STORAGE_MIN_FREE", "20")
        .variable("NIXERY_GC_INTERVAL", "86400")
        .variable("NIXERY_GC_KEEP", keep)
        .variable("NIXERY_IMAGE_MAX_LAYERS", "1");
    let small = Small::start(setup, 64, 1);
    let server = &small.server;
    // It doesn't compress, so it takes 30 MB. What the other one has is recorded to be there.
    server.manifest("large/five");
    small.pull("five");
    let old = SystemTime::now() - unused;
    let of_five = layers(server, "five");
    for directory in fs::read_dir(&small.inside).unwrap() {
        let directory = directory.unwrap().path();
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            file.set_modified(old).unwrap();
        }
    }
    // Nobody has asked for the large one since.
    for layer in of_five {
        let file = fs::File::open(small.inside.join("layers").join(layer)).unwrap();
        file.set_modified(SystemTime::now()).unwrap();
    }
    small.fill();
    // By itself, within seconds, and not at the interval.
    wait_until("the collection", || small.logged("garbage collected") > 0);
    wait_until("room", || small.logged("there is room again") > 0);
    small.pull("two/five");
    small.pull("five");
    assert_eq!(small.logged("collecting garbage, as the disk is nearly full"), 1);
    assert_eq!(small.logged("garbage collection failed"), 0);

    // Where it doesn't help, it is not done again and again.
    small.take(50);
    wait_until("the refusal", || small.logged("the disk is nearly full") >= 2);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(small.logged("garbage collected"), 1);
}
