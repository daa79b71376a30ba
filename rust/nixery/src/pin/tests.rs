use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use super::fixture::git;
use super::*;
use crate::source::Nixpkgs;

/// A repository, and a directory for what is saved.
struct Fixture {
    base: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { base: TempDir::new().unwrap() };
        fs::create_dir(fixture.repository()).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.commit();
        fixture
    }

    fn repository(&self) -> std::path::PathBuf {
        self.base.path().join("repository")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments)
    }

    fn commit(&self) -> String {
        self.git(&["commit", "-q", "--allow-empty", "-m", "next"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn at(&self, reference: Option<&str>) -> SourceAt {
        SourceAt::Git {
            url: format!("file://{}", self.repository().display()),
            reference: reference.map(str::to_owned),
            revision: None,
        }
    }

    /// What a server knows that was just started.
    fn pins(&self) -> Pins {
        let saved = Directory::open(&self.base.path().join("saved"), 1_000_000).unwrap();
        Pins::new(TRUSTED, true, Arc::new(saved), CancellationToken::new())
    }

    /// Takes the repository away.
    fn hide(&self) {
        fs::rename(self.repository(), self.base.path().join("hidden")).unwrap();
    }
}

fn commit(pin: &Result<Pin, PinError>) -> Option<&str> {
    pin.as_ref().ok()?.snapshot.revision()
}

/// Lets the time pass until sources are asked again, and waits for that.
async fn pass_the_time(pins: &Pins, source: &SourceAt) {
    assert!(pins.0.refresh(source, pins.0.known.id(source)).await);
}

#[tokio::test]
async fn a_branch_is_followed_in_the_background() {
    let fixture = Fixture::new();
    let (pins, main) = (fixture.pins(), fixture.at(Some("main")));
    let first = fixture.git(&["rev-parse", "HEAD"]);
    assert_eq!(commit(&pins.pin(main.clone()).await), Some(&first[..]));
    assert_eq!(commit(&pins.pin(fixture.at(None)).await), Some(&first[..]), "the default branch");
    let second = fixture.commit();
    assert_eq!(commit(&pins.pin(main.clone()).await), Some(&first[..]), "nobody was asked");
    pass_the_time(&pins, &main).await;
    let pin = pins.pin(main).await.unwrap();
    assert_eq!(pin.snapshot.revision(), Some(&second[..]));
    assert!(pin.warning.is_none());
    let by_commit = SourceAt::Git {
        url: format!("file://{}", fixture.repository().display()),
        reference: None,
        revision: Some(second.clone()),
    };
    assert_eq!(pins.pin(by_commit).await.unwrap().snapshot, pin.snapshot);
}

#[tokio::test]
async fn while_nobody_answers_a_branch_stays_where_it_was() {
    let fixture = Fixture::new();
    let (pins, main) = (fixture.pins(), fixture.at(Some("main")));
    let first = pins.pin(main.clone()).await.unwrap().snapshot;
    fixture.hide();
    pass_the_time(&pins, &main).await;
    let pin = pins.pin(main.clone()).await.unwrap();
    assert_eq!(pin.snapshot, first);
    let warning = pin.warning.unwrap();
    assert!(warning.contains(first.revision().unwrap()), "{warning}");
    assert!(!warning.contains(fixture.base.path().to_str().unwrap()), "{warning}");
    fs::rename(fixture.base.path().join("hidden"), fixture.repository()).unwrap();
    pass_the_time(&pins, &main).await;
    assert!(pins.pin(main).await.unwrap().warning.is_none());
}

#[tokio::test]
async fn what_was_known_is_known_after_a_restart() {
    let fixture = Fixture::new();
    let main = fixture.at(Some("main"));
    let first = fixture.pins().pin(main.clone()).await.unwrap().snapshot;
    let second = fixture.commit();
    let pin = fixture.pins().pin(main.clone()).await.unwrap();
    assert_eq!(pin.snapshot, first, "still fresh");
    assert_ne!(first.revision(), Some(&second[..]));
    fixture.hide();
    // As if it had been asked long ago.
    let pins = fixture.pins();
    let saved = pins.0.saved.get(&main).await.unwrap();
    let old = SystemTime::now() - Duration::from_mins(10);
    pins.0.saved.put_at(&main, &saved, old).await;
    let pin = fixture.pins().pin(main).await.unwrap();
    assert_eq!(pin.snapshot, first);
    assert!(pin.warning.unwrap().contains("10 minutes ago"));
    let unknown = fixture.pins().pin(fixture.at(Some("other"))).await;
    assert!(matches!(unknown, Err(PinError::Unavailable { .. })), "{unknown:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_and_what_is_removed_is_forgotten() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let (pins, side) = (fixture.pins(), fixture.at(Some("side")));
    pins.pin(side.clone()).await.unwrap();
    let nothing = pins.pin(fixture.at(Some("nothing"))).await.unwrap_err();
    assert!(nothing.to_string().starts_with("there is no branch or tag nothing in file://"));
    fixture.git(&["branch", "-D", "side"]);
    assert!(!pins.0.refresh(&side, pins.0.known.id(&side)).await);
    for pins in [pins, fixture.pins()] {
        assert!(matches!(pins.pin(side.clone()).await, Err(PinError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_channel_is_a_branch_of_its_repository() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "nixos-26.05"]);
    let commit = fixture.git(&["rev-parse", "HEAD"]);
    let nixpkgs = Nixpkgs {
        repository: Some(format!("file://{}", fixture.repository().display())),
        archive: None,
    };
    let channel = SourceAt::Channel { channel: "nixos-26.05".to_owned(), nixpkgs };
    let snapshot = fixture.pins().pin(channel).await.unwrap().snapshot;
    assert_eq!(snapshot.revision(), Some(&commit[..]));
    assert!(matches!(snapshot.source(), SourceAt::Channel { channel, .. } if *channel == commit));
}

#[tokio::test]
async fn a_directory_is_told_by_its_content_or_its_commit() {
    let fixture = Fixture::new();
    let pins = fixture.pins();
    let tree = fixture.repository();
    let look = || pins.0.look(&tree);
    let by_commit = look().await.unwrap();
    assert_eq!(by_commit.revision(), Some(&fixture.git(&["rev-parse", "HEAD"])[..]));
    fs::write(tree.join("default.nix"), "{ }").unwrap();
    let changed = look().await.unwrap();
    assert_eq!((changed.revision(), changed.is_fixed()), (None, true));
    assert!(pins.is_still(&changed).await);
    fs::write(tree.join("default.nix"), "{  }").unwrap();
    assert!(!pins.is_still(&changed).await);

    let nowhere = pins.0.look(Path::new("/does/not/exist")).await.unwrap();
    assert!(!nowhere.is_fixed(), "Nix says what is wrong");
    let store = tempfile::tempdir().unwrap();
    let link = store.path().join("link");
    let path = "/nix/store/00000000000000000000000000000000-does-not-exist";
    std::os::unix::fs::symlink(path, &link).unwrap();
    assert!(!pins.0.look(&link).await.unwrap().is_fixed());
}

#[tokio::test]
async fn what_was_forgotten_and_is_known_again_is_followed_once() {
    let fixture = Fixture::new();
    let (pins, main) = (fixture.pins(), fixture.at(Some("main")));
    pins.pin(main.clone()).await.unwrap();
    let first = pins.0.known.id(&main);
    pins.0.known.remove(&main, first);
    pins.pin(main.clone()).await.unwrap();
    assert!(!pins.0.refresh(&main, first).await, "the follower of the first ends");
    assert!(pins.0.refresh(&main, pins.0.known.id(&main)).await);
}
