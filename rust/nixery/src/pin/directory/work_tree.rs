//! Clean git work trees.

use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::process::{self, Output, Program};
use crate::source::is_commit;

/// How long git may look. One that takes longer than this is no help.
const LIMIT: Duration = Duration::from_secs(20);

/// The commit that `directory` is at, if it is in a git work tree without any change
/// that git knows of: no changed, no new and no ignored files.
pub(super) async fn clean_commit(directory: &Path, shutdown: &CancellationToken) -> Option<String> {
    let below = directory.to_owned();
    let is_repository =
        spawn_blocking(move || below.ancestors().any(|directory| directory.join(".git").exists()));
    if !is_repository.await.unwrap_or(false) || shutdown.is_cancelled() {
        return None;
    }
    let status = ["status", "--porcelain", "--untracked-files=normal", "--ignored"];
    // The commit first: one that is made meanwhile leaves the tree clean.
    let commit = git(directory, &["rev-parse", "--verify", "HEAD"], shutdown).await?;
    let changes = git(directory, &status, shutdown).await?;
    let again = git(directory, &["rev-parse", "--verify", "HEAD"], shutdown).await?;
    let commit = commit.trim();
    (changes.is_empty() && is_commit(commit) && again.trim() == commit).then(|| commit.to_owned())
}

/// What git prints; `None` where it fails, such as for a directory of another user.
async fn git(directory: &Path, arguments: &[&str], shutdown: &CancellationToken) -> Option<String> {
    let mut command = Program::new("git");
    // Nothing is written, and no daemon is started.
    command.arg("-C").arg(directory).args(["-c", "core.fsmonitor=false"]).args(arguments);
    command.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    let log = |line: &str| tracing::debug!(target: "git", "{line}");
    match process::run(command, &[], LIMIT, shutdown, log).await.ok()? {
        Output::Ended { status, stdout } if status.success() => String::from_utf8(stdout).ok(),
        Output::Ended { .. } | Output::TimedOut | Output::ShutDown => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::pin::fixture;

    #[tokio::test]
    async fn only_a_tree_without_any_change_is_at_a_commit() {
        let base = TempDir::new().unwrap();
        let (tree, shutdown) = (base.path(), CancellationToken::new());
        let look = || clean_commit(tree, &shutdown);
        assert_eq!(look().await, None, "no repository");
        fixture::git(tree, &["init", "-q"]);
        assert_eq!(look().await, None, "no commit");
        fs::create_dir(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/default.nix"), "{ }").unwrap();
        fs::write(tree.join(".gitignore"), "ignored\n").unwrap();
        fixture::git(tree, &["add", "."]);
        fixture::git(tree, &["commit", "-q", "-m", "one"]);
        let commit = look().await.unwrap();
        assert!(is_commit(&commit));
        assert_eq!(clean_commit(&tree.join("sub"), &shutdown).await, Some(commit.clone()));

        for (file, content) in [("sub/default.nix", "{  }"), ("new", ""), ("ignored", "")] {
            fs::write(tree.join(file), content).unwrap();
            assert_eq!(look().await, None, "{file}");
            if file.starts_with("sub") {
                fs::write(tree.join(file), "{ }").unwrap();
            } else {
                fs::remove_file(tree.join(file)).unwrap();
            }
            assert_eq!(look().await, Some(commit.clone()));
        }
        fixture::git(tree, &["commit", "-q", "--allow-empty", "-m", "two"]);
        assert_ne!(look().await, Some(commit));
    }
}
